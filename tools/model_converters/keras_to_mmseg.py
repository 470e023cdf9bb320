"""Convert a file of the article's Keras model to a checkpoint, layer by layer.

Reads .keras, .weights.h5 and .h5 files through h5py; Keras and TensorFlow are not needed.
"""

import argparse
import sys
from pathlib import Path

from mmengine.runner import save_checkpoint

from pspnet_plugin.apis.export.exporters import quiet
from pspnet_plugin.apis.loading import build_model, metainfo_of
from pspnet_plugin.toolkit.arguments import (
    add_cfg_options,
    atomic_output,
    check_output_name,
    read_config,
)
from pspnet_plugin.toolkit.keras.files import read_keras
from pspnet_plugin.toolkit.keras.layers import article_modules, match_layers, to_state_dict
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.version import __version__

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/psp_article-rgb_cityscapes_pairs.py'
EXAMPLE = f"""example:
  python tools/model_converters/keras_to_mmseg.py article.keras work_dirs/article.pth
  python tools/test.py {CONFIG} work_dirs/article.pth

Layers are matched by the article's names (block_1_a, red_1_by_1 ...). In a file without any of
these, they are matched by the order of their creation.
"""


def convert(args: argparse.Namespace) -> None:
    """Read the Keras file, match its layers and write the checkpoint.

    Raises:
        ImportError: h5py is missing.
        OSError: A file is missing, or cannot be read or written.
        ValueError: The file, the config or an argument is unusable.
    """
    end = check_output_name(args.out, '.pth')
    layers = read_keras(args.model)
    with quiet():
        config = read_config(args, root=ROOT)
        model = build_model(config)
    try:
        matches = match_layers(layers, article_modules(model))
        model.load_state_dict(to_state_dict(matches))
    except ValueError as error:
        raise ValueError(f'{args.model}: {error}') from None
    width = max(len(layer.name) for layer, _ in matches)
    for layer, module in matches:
        shapes = ' '.join('x'.join(map(str, shape)) for shape in layer.shapes)
        print(f'{layer.name:<{width}}  {module.name:<36}  {shapes}')
    meta = dict(dataset_meta=metainfo_of(config), pspnet_plugin=__version__)
    with atomic_output(args.out, suffix=end) as part, quiet():
        save_checkpoint(dict(meta=meta, state_dict=model.state_dict()), str(part))
    count = sum(array.size for layer, _ in matches for array in layer.arrays)
    print(f'{args.out}: {len(matches)} layers, {count:,} parameters')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Convert the article's Keras model to a checkpoint.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('model', metavar='MODEL', type=Path, help='.keras, .weights.h5 or .h5 file')
    add('out', metavar='OUT', type=Path, help='checkpoint to write, .pth')
    add('--config', default=CONFIG, metavar='CONFIG', help=f'config of the network ({CONFIG})')
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for its exit status."""
    args = parse_args(argv)
    return run_command('keras_to_mmseg', convert, args, interrupted=f'{args.out} was not written')


if __name__ == '__main__':
    sys.exit(main())
