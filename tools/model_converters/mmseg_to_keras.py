"""Takes a checkpoint of the article's network back to Keras, which needs the extra [keras].

The file's kind follows from its name: .keras (the whole model), .weights.h5 or .h5.
"""

import argparse
import contextlib
import re
import secrets
import sys
from pathlib import Path

from mmengine.config import DictAction

from pspnet_plugin.converters.keras_layers import counterpart_of
from pspnet_plugin.deployment.exporting import quiet
from pspnet_plugin.deployment.loading import load_config, load_model, size_of
from pspnet_plugin.engine.stock_tools import find_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/psp_article-rgb_cityscapes_pairs.py'
ENDS = ('.weights.h5', '.keras', '.h5')
EXAMPLE = """example:
  python tools/model_converters/mmseg_to_keras.py work_dirs/article.pth article.keras
"""


def convert(args: argparse.Namespace) -> None:
    """Loads, builds, fills, writes.

    Raises:
        ImportError: Keras is missing.
        OSError: a file is missing, or may not be read or written.
        ValueError: the checkpoint, the config or an argument is unusable.
    """
    end = next((end for end in ENDS if args.out.name.endswith(end)), None)
    if end is None:
        raise ValueError(f'OUT {args.out}: expected a name that ends in {", ".join(ENDS)}')
    if args.out.is_dir():
        raise ValueError(f'OUT {args.out} is a folder; give a file')
    with quiet():
        config = load_config(
            Path(find_config(str(args.config), root=ROOT)), options=args.cfg_options
        )
        model, _ = load_model(config, args.checkpoint)
        counterpart = counterpart_of(model, args.size or size_of(config) or (256, 256))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_name(f'.{secrets.token_hex(4)}.part{end}')
    try:
        with quiet():
            (counterpart.save_weights if end == '.weights.h5' else counterpart.save)(str(part))
        part.replace(args.out)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    height, width = counterpart.input_shape[1:3]
    print(f'{args.out}: {counterpart.count_params():,} parameters, pictures of {height}x{width}')


def _size(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r'(\d+)x(\d+)', text)
    if not sides or not all(int(side) for side in sides.groups()):
        raise argparse.ArgumentTypeError(f'{text!r}: expected HEIGHTxWIDTH, such as 256x256')
    return int(sides[1]), int(sides[2])


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Convert a checkpoint of the article's network to Keras.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', metavar='CHECKPOINT', type=Path, help='.pth file')
    add('out', metavar='OUT', type=Path, help=f'file to write: {", ".join(ENDS)}')
    add('--config', default=CONFIG, metavar='CONFIG', help=f'config that it is of ({CONFIG})')
    add(
        '--size', type=_size, metavar='HxW',
        help="height and width of the pictures (the config's crop)",
    )  # fmt: skip
    add(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change values of the config',
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the command: 2 for what the user can mend, 130 after Ctrl-C."""
    args = parse_args(argv)
    try:
        convert(args)
    except (ImportError, OSError, ValueError) as error:
        print(f'mmseg_to_keras: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'mmseg_to_keras: interrupted; {args.out} was not written', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
