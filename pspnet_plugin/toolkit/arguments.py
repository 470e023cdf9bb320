"""What the exporters and converters have in common: configs, and files made whole."""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, DictAction

from pspnet_plugin.apis.loading import load_config
from pspnet_plugin.datasets.pair_backends import SIDES
from pspnet_plugin.engine.stock_tools import find_config
from pspnet_plugin.labels.decoder import RULES
from pspnet_plugin.utils.jobs import write_atomic


class CfgOptions(DictAction):
    """The framework's own, which says in a line what it cannot read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Reads the values; ends the program where one cannot be."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except ValueError as error:
            said = ' '.join(values)
            parser.error(f'{option_string} {said}: {error}; expected KEY=VALUE, for each')


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """The option by which stock tools change values of a config."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
        help='change values of the config',
    )  # fmt: skip


def read_config(args: argparse.Namespace, *, root: Path, whole: bool = True) -> Config:
    """The config that a command line names, here or in the project, see ``load_config``."""
    path = Path(find_config(str(args.config), root=root))
    return load_config(path, options=args.cfg_options, whole=whole)


def check_out(out: Path, *ends: str) -> str:
    """The one of ``ends`` that the name of a file to be written has.

    Raises:
        ValueError: it has none, or is a folder.
    """
    if out.is_dir():
        raise ValueError(f'OUT {out} is a folder; give a file')
    for end in ends:
        if out.name.endswith(end):
            return end
    raise ValueError(f'OUT {out}: expected a name that ends in {", ".join(ends)}')


@contextlib.contextmanager
def made_whole(out: Path, *, end: str) -> Iterator[Path]:
    """A file to write in place of ``out``, which it becomes if nothing fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # Of the system's temporary files, so that one that a killed run leaves is swept away some day.
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / f'part{end}'
        yield part
        write_atomic(out, part.read_bytes())


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Which half of a pair is the photo, and how the other is read, as ``LabelDecoder`` has it."""
    add = parser.add_argument
    add('--photo-side', choices=SIDES, default='left', help='half that holds the photo (left)')
    add('--rule', choices=RULES, default='edge_aware', help='of decoding labels (edge_aware)')
    add(
        '--max-distance', type=_distance, default=40.0, metavar='D',
        help='nearest: RGB distance from all colours at which a pixel is ignored, or none (40)',
    )  # fmt: skip
    add(
        '--min-confidence', type=float, default=0.8, metavar='SHARE',
        help='edge_aware: confidence that an unsure pixel must reach, 0 to 1 (0.8)',
    )  # fmt: skip
    add(
        '--min-explained', type=float, default=0.5, metavar='SHARE',
        help='share of pixels near a known colour that makes a label picture, 0 to 1 (0.5)',
    )  # fmt: skip


def _distance(text: str) -> float | None:
    try:
        return None if text == 'none' else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no number, nor none') from None
