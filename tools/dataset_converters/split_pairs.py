"""Split pairs into photos and index maps, the layout of stock datasets and other programs.

Photos go to ``OUT/img_dir/SPLIT``, 8-bit index maps of the same names to ``OUT/ann_dir/SPLIT``.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from pspnet_plugin.datasets.listing import images_in, roots_of
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.toolkit.arguments import add_label_options, decode_options
from pspnet_plugin.toolkit.conversion.conversion_run import ENDINGS, RESUME, run_conversion
from pspnet_plugin.toolkit.conversion.pair_splitting import find_jobs, split_pair
from pspnet_plugin.utils.command_line import add_debug, add_workers, complain, run_command
from pspnet_plugin.utils.output_directory import check_free, claim
from pspnet_plugin.version import __version__

MARKER = '.split_pairs.json'
TOOL = 'split_pairs'
EXAMPLE = """example:
  python tools/dataset_converters/split_pairs.py data/cityscapes_pairs data/cityscapes_split
  python tools/train.py configs/psp_cityscapes_split.py

Every directory in PAIRS that holds pairs is a split. OUT/metainfo.json lists the classes by index.
The same command resumes an interrupted run, and converts changed pairs again.
"""


def split(args: argparse.Namespace) -> int:
    """Check everything, then split; return the exit status."""
    metainfo = read_metainfo(args.palette)
    decode = decode_options(args)
    decoder = LabelDecoder(metainfo['palette'], void_palette=metainfo['void_palette'], **decode)
    jobs = find_jobs(args.pairs, args.out)
    source = dict(pairs=str(args.pairs.resolve()), photo_side=args.photo_side)
    made_by = dict(**source, **decode, **metainfo, version=__version__)
    check_free(args.out, marker=MARKER, made_by=made_by, foreign=sorted(args.out.glob('[!.]*')))
    listed = {key: metainfo[key] for key in ('classes', 'palette')}
    claim(args.out, marker=MARKER, made_by=made_by, metainfo=listed)
    if strays := [image for root in roots_of(args.pairs) for image in images_in(root)]:
        complain(TOOL, f'skipped images beside the splits: {len(strays)}, e.g. {strays[0]}')
    convert = partial(split_pair, decoder=decoder, photo_side=args.photo_side)
    folder = args.out / 'img_dir'
    return run_conversion(jobs, convert, folder=folder, workers=args.workers, tool=TOOL)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Split pairs into photos (OUT/img_dir) and 8-bit index maps (OUT/ann_dir).',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('pairs', metavar='PAIRS', type=Path, help='directory of the splits, such as train and val')
    add('out', metavar='OUT', type=Path, help='output directory, new or of a run to resume')
    add(
        '--palette', default='cityscapes', metavar='NAME',
        help='cityscapes (default), camvid, a stock dataset (LoveDADataset …), or a .json, .yaml '
        'or .py file with classes and palette',
    )  # fmt: skip
    add_label_options(parser)
    add_workers(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the tool; see ``run_command`` for its exit status."""
    return run_command(TOOL, split, parse_args(argv), interrupted=RESUME, endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
