"""Convert a checkpoint of the article's network to a Keras file; needs the extra [keras].

The file name selects the format: .keras (the whole model), .weights.h5 or .h5.
"""

import argparse
import sys
from pathlib import Path

from pspnet_plugin.apis.export.exporters import quiet
from pspnet_plugin.apis.loading import load_model, size_of
from pspnet_plugin.toolkit.arguments import (
    add_cfg_options,
    atomic_output,
    check_output_name,
    read_config,
)
from pspnet_plugin.toolkit.keras.layers import to_keras_model
from pspnet_plugin.utils.command_line import add_debug, parse_size, run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/psp_article-rgb_cityscapes_pairs.py'
FORMATS = ('.weights.h5', '.keras', '.h5')
EXAMPLE = """example:
  python tools/model_converters/mmseg_to_keras.py work_dirs/article.pth article.keras
"""


def convert(args: argparse.Namespace) -> None:
    """Load the checkpoint, build the Keras model and write it.

    Raises:
        ImportError: Keras is missing.
        OSError: A file is missing, or cannot be read or written.
        ValueError: The checkpoint, the config or an argument is unusable.
    """
    end = check_output_name(args.out, *FORMATS)
    with quiet():
        config = read_config(args, root=ROOT)
        model, _ = load_model(config, args.checkpoint)
        size = args.size or size_of(config)
        if size is None:
            raise ValueError(f'{args.config} names no crop size; give --size')
        keras_model = to_keras_model(model, size)
    with atomic_output(args.out, suffix=end) as part, quiet():
        (keras_model.save_weights if end == '.weights.h5' else keras_model.save)(str(part))
    height, width = keras_model.input_shape[1:3]
    print(f'{args.out}: {keras_model.count_params():,} parameters, images of {height}x{width}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Convert a checkpoint of the article's network to Keras.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', metavar='CHECKPOINT', type=Path, help='.pth file')
    add('out', metavar='OUT', type=Path, help=f'file to write: {", ".join(FORMATS)}')
    add('--config', default=CONFIG, metavar='CONFIG', help=f'config of the network ({CONFIG})')
    add(
        '--size', type=parse_size, metavar='HxW',
        help="height and width of the images (default: the config's crop size)",
    )  # fmt: skip
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for its exit status."""
    args = parse_args(argv)
    return run_command('mmseg_to_keras', convert, args, interrupted=f'{args.out} was not written')


if __name__ == '__main__':
    sys.exit(main())
