"""Command-line options that several tools share, and checks of the files that they write."""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, DictAction

from pspnet_plugin.apis.loading import load_config
from pspnet_plugin.datasets.pair_backends import SIDES
from pspnet_plugin.engine.stock_tools import find_config
from pspnet_plugin.engine.zoo import DEFAULT_MODEL, TrainedNetwork, find_network
from pspnet_plugin.labels.decoder import RULES
from pspnet_plugin.utils.files import write_atomic


class CfgOptions(DictAction):
    """The framework's action, but a value that it cannot parse ends the program in one line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Parse the values."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except ValueError as error:
            parser.error(f'{option_string} {" ".join(values)}: {error}; give each as KEY=VALUE')


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, as the stock tools have it."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
        help='override values of the config',
    )  # fmt: skip


def add_model(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add ``--model``, the name of a trained network of the zoo, or of ``nargs`` of them."""
    parser.add_argument(
        '--model', metavar='NAME', nargs=nargs,
        help='trained network that comes with the package, taken if no network is given '
        f'({DEFAULT_MODEL}); docs/predict.md names all',
    )  # fmt: skip


def find_model(name: str, *, is_default: bool) -> TrainedNetwork:
    """Find a trained network by its name, and say which one it is."""
    found = find_network(name)
    taken = f'no network is given: {name}' if is_default else name
    print(
        f'{taken}, trained on the street scenes of Cityscapes, for non-commercial use (its card: '
        f'{found.card})'
    )
    return found


def read_config(args: argparse.Namespace, *, root: Path, whole: bool = True) -> Config:
    """Load ``args.config``, found here or in the project ``root``; see ``load_config``."""
    path = Path(find_config(str(args.config), root=root))
    return load_config(path, options=args.cfg_options, whole=whole)


def check_output_name(out: Path, *suffixes: str) -> str:
    """Return the suffix of an output file; ``ValueError`` if it is another, or a directory."""
    if out.is_dir():
        raise ValueError(f'OUT {out} is a directory; give the name of a file')
    suffix = next(filter(out.name.endswith, suffixes), None)
    if suffix is None:
        raise ValueError(f'OUT {out}: give a name that ends in {", ".join(suffixes)}')
    return suffix


@contextlib.contextmanager
def atomic_output(out: Path, *, suffix: str) -> Iterator[Path]:
    """Yield a temporary file that replaces ``out`` unless the block raises."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # In the system's directory for temporary files, which is cleaned up after a killed run.
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / f'part{suffix}'
        yield part
        write_atomic(out, part.read_bytes())


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Add the photo side and the arguments of ``LabelDecoder``."""
    add = parser.add_argument
    add('--photo-side', choices=SIDES, default='left', help='half that holds the photo (left)')
    add('--rule', choices=RULES, default='edge_aware', help='label decoding (edge_aware)')
    add(
        '--max-distance', type=_distance, default=40.0, metavar='D',
        help='nearest: RGB distance from all colours beyond which a pixel is ignored, or none (40)',
    )  # fmt: skip
    add(
        '--min-confidence', type=float, default=0.8, metavar='SHARE',
        help='edge_aware: confidence below which an unsure pixel is ignored, 0 to 1 (0.8)',
    )  # fmt: skip
    add(
        '--min-explained', type=float, default=0.5, metavar='SHARE',
        help='share of pixels near a known colour that a label image must have, 0 to 1 (0.5)',
    )  # fmt: skip


def decode_options(args: argparse.Namespace) -> dict:
    """Return the arguments of ``LabelDecoder`` that ``add_label_options`` adds."""
    names = ('rule', 'max_distance', 'min_confidence', 'min_explained')
    return {name: getattr(args, name) for name in names}


def _distance(text: str) -> float | None:
    try:
        return None if text == 'none' else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r}: give a number or none') from None
