"""Makes folders of side-by-side pairs: photo in the left half, colour-coded labels in the right.

``cityscapes`` makes them of the official data set, ``folders`` of any photos and label maps;
``synthetic`` draws street scenes in the colours of Cityscapes, so that a whole training can be
tried without any data set.
"""

import argparse
import sys
from pathlib import Path
from shlex import quote

from tqdm import tqdm

from pspnet_plugin.datasets import PairsDataset
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.toolkit.conversion.config_writer import SEEN, keep_config, survey
from pspnet_plugin.toolkit.conversion.label_maps import Legend, plain_legend, with_void
from pspnet_plugin.toolkit.conversion.pair_making import Style, fill_folder
from pspnet_plugin.toolkit.conversion.photo_folders import (
    LABEL_KINDS,
    Matched,
    cityscapes_legend,
    match_cityscapes,
    match_folders,
)
from pspnet_plugin.toolkit.synthetic.pair_directory import SPLITS, make_scenes
from pspnet_plugin.utils.arguments import add_workers, whole_number
from pspnet_plugin.utils.command_line import add_debug, complain, run_command
from pspnet_plugin.utils.jobs import Stopped
from pspnet_plugin.utils.output_directory import pictures

AGAIN = 'A run that was interrupted goes on where it stopped when the same command is given again.'
REDONE = 'Pairs whose photo or label map has changed since are made again.'
TOOL = 'make_pairs'
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
EXAMPLE = f"""example:
  python tools/dataset_converters/make_pairs.py synthetic data/synthetic --train 400 --val 60

{AGAIN}
"""
OFFICIAL = f"""example, with leftImg8bit/ and gtFine/ of the official archives in data/cityscapes:
  python tools/dataset_converters/make_pairs.py cityscapes data/cityscapes data/pairs

Halves are 256 x 256, as Kaggle has them; --size 512x256 keeps the proportions of the photos.
In labelIds and color, what is no train class keeps its own colour (parking, static, ...); the group
of poles, which has the colour of pole, becomes black from labelIds and stays pole from color.
{AGAIN}
{REDONE}
"""
FOLDERS = f"""examples:
  python tools/dataset_converters/make_pairs.py folders photos labels data/my_pairs \\
      --palette my.json --config configs/my_pairs.py
  python tools/dataset_converters/make_pairs.py folders cs/leftImg8bit cs/gtFine data/pairs \\
      --palette cityscapes --img-suffix _leftImg8bit --ann-suffix _gtFine_labelTrainIds

my.json: {{"classes": ["wall", "door"], "palette": [[0, 0, 255], [0, 170, 255]],
          "void_palette": [[0, 0, 0]]}}, the last one if some colours are no class.
Label maps hold class indices (one channel of 8 or 16 bits, or a PNG with a colour table; 255 is
ignored) or exactly the colours of the palette. OUT/metainfo.json says what the pairs hold.
Sub-folders such as train and val are kept.
{AGAIN}
{REDONE}
"""
USE = """in the datasets of a config, with num_classes={classes} in the heads of its model:
  type='PairsDataset', data_root={out!r}, metainfo={metainfo!r}
the same command with --config configs/NAME.py writes a whole one"""


def synthetic(args: argparse.Namespace) -> int:
    """The ``synthetic`` command."""
    counts = {'train': args.train, 'val': args.val}
    make_scenes(args.out, counts=counts, seed=args.seed, truth=args.truth, workers=args.workers)
    there = ', '.join(f'{len(list((args.out / s).glob("*.jpg")))} in {s}' for s in SPLITS)
    print(f'pairs in {args.out}: {there}')
    if args.truth:
        print(f'their truth in {args.truth}, 8-bit PNG with 255 for void')
    return 0


def cityscapes(args: argparse.Namespace) -> int:
    """The ``cityscapes`` command."""
    _check_outside(args.out, args.root / 'leftImg8bit', args.root / 'gtFine')
    matched, kind = match_cityscapes(args.root, args.labels)
    width, height = args.size
    print(f'{args.root}: labels from *_gtFine_{kind}.png; halves of {width} x {height} pixels')
    if (args.root / 'leftImg8bit' / 'test').is_dir():
        print('test is left out: its label maps are dummies')
    status = _fill(
        args,
        matched,
        cityscapes_legend(kind),
        made_from={'root': str(args.root.resolve()), 'labels': kind},
        metainfo=read_metainfo('cityscapes'),
    )
    print(
        'to train on them:\n'
        f'  PAIRS_ROOT={quote(str(args.out))} python tools/train.py configs/psp_cityscapes_pairs.py'
    )
    return status


def folders(args: argparse.Namespace) -> int:
    """The ``folders`` command."""
    _check_outside(args.out, args.img_dir, args.ann_dir)
    if args.config and (args.config.suffix != '.py' or not args.config.absolute().parent.is_dir()):
        raise ValueError(
            f'--config {args.config}: expected a name ending in .py, in a folder that is there'
        )
    if args.size and args.max_side:
        raise ValueError(f'--max-side {args.max_side} and --size: give one of them')
    if args.config and not args.size and args.max_side is None:
        args.max_side = SEEN
    metainfo = with_void(read_metainfo(args.palette))
    PairsDataset(metainfo=metainfo, lazy_init=True)  # says what is wrong with classes and colours
    matched = match_folders(
        args.img_dir, args.ann_dir, photo_suffix=args.img_suffix, label_suffix=args.ann_suffix
    )
    status = _fill(
        args,
        matched,
        plain_legend(metainfo),
        made_from={
            'img_dir': str(args.img_dir.resolve()),
            'ann_dir': str(args.ann_dir.resolve()),
            'img_suffix': args.img_suffix,
            'ann_suffix': args.ann_suffix,
        },
        metainfo=metainfo,
    )
    made = any(path.suffix == f'.{args.format}' for path in pictures(args.out))
    if made and args.config:
        found = survey(args.out, matched, plain_legend(metainfo), suffix=f'.{args.format}')
        print(keep_config(found, args.config, configs=CONFIGS))
        print(f'to train by it:\n  python tools/train.py {quote(str(args.config))}')
    elif made:
        use = dict(out=str(args.out), classes=len(metainfo['classes']))
        print(USE.format(**use, metainfo=str(args.out / 'metainfo.json')))
    return status


def _check_outside(out: Path, *sources: Path) -> None:
    for folder in sources:
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'{out} lies in {folder}; give the pairs a folder elsewhere')


def _fill(
    args: argparse.Namespace, matched: Matched, legend: Legend, *, made_from: dict, metainfo: dict
) -> int:
    """Makes the pairs and says how it went; the exit status is 1 for any trouble."""
    filled = fill_folder(
        args.out,
        matched,
        _style(args, legend),
        made_from=made_from,
        metainfo=metainfo,
        workers=args.workers,
        on_problem=lambda problem: tqdm.write(f'make_pairs: {problem}', file=sys.stderr),
    )
    if filled.kept:
        print(f'{filled.kept} of {filled.wanted} pairs are there already')
    if matched.spare:
        print(f'{matched.spare} label maps have no photo and are left out')
    listed = ', '.join(f'{count} in {folder}' for folder, count in filled.there.items())
    print(f'pairs in {args.out}: {listed or "none"}')
    troubles = filled.troubles()
    for trouble in troubles:
        complain(TOOL, trouble)
    return 1 if troubles else 0


def _style(args: argparse.Namespace, legend: Legend) -> Style:
    if args.quality and args.format != 'jpg':
        raise ValueError(f'--quality {args.quality} goes with --format jpg; png has no loss')
    max_side = getattr(args, 'max_side', None) or None
    size = args.size and args.size[::-1]  # height, width
    return Style(legend, size, f'.{args.format}', args.quality or 95, max_side)


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split('x')
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) < 1 << 15 for side in sides):
        raise argparse.ArgumentTypeError(f'{text!r} is no size; give e.g. 512x256, or one number')
    return int(sides[0]), int(sides[-1])


def _add_synthetic(command: argparse.ArgumentParser) -> None:
    command.add_argument('out', metavar='OUT', type=Path, help='folder of the pairs')
    whole = whole_number(0)
    command.add_argument('--train', type=whole, default=400, help='pairs in OUT/train (400)')
    command.add_argument('--val', type=whole, default=60, help='pairs in OUT/val (60)')
    command.add_argument('--seed', type=whole, default=0, help='seed of all pictures (0)')
    command.add_argument(
        '--truth', metavar='DIR', type=Path, help='also write exact index maps, DIR/train/1.png'
    )
    command.set_defaults(run=synthetic)


def _add_cityscapes(command: argparse.ArgumentParser) -> None:
    command.add_argument('root', metavar='ROOT', type=Path, help='folder of leftImg8bit and gtFine')
    command.add_argument('out', metavar='OUT', type=Path, help='folder of the pairs')
    command.add_argument(
        '--labels', choices=LABEL_KINDS, help='label maps to use (the first of these that exists)'
    )
    size = (256, 256)
    _add_style(command, size=size, size_help="of one half (256x256, as in Kaggle's pairs)")
    command.set_defaults(run=cityscapes)


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument('img_dir', metavar='IMG_DIR', type=Path, help='folder of the photos')
    command.add_argument(
        'ann_dir', metavar='ANN_DIR', type=Path, help='folder of label maps of the same names'
    )
    command.add_argument('out', metavar='OUT', type=Path, help='folder of the pairs')
    command.add_argument(
        '--palette',
        required=True,
        help='a known one (cityscapes, camvid, or a stock dataset: LoveDADataset …), or a .json, '
        '.yaml or .py file; see below',
    )
    command.add_argument(
        '--img-suffix', metavar='END', default='',
        help="end of photos' names that label maps do not have, e.g. _leftImg8bit or .jpg",
    )  # fmt: skip
    command.add_argument('--ann-suffix', metavar='END', default='', help='the same of label maps')
    command.add_argument(
        '--config', metavar='FILE', type=Path,
        help='write a config that trains on the pairs, e.g. configs/my_pairs.py; one that was '
        'changed by hand stays',
    )  # fmt: skip
    command.add_argument(
        '--max-side', metavar='PIXELS', type=whole_number(0),
        help='shrink larger photos, and their labels, to this length of the longer side '
        f'(with --config {SEEN}, the largest that it trains on; else, and with 0, never)',
    )  # fmt: skip
    _add_style(command, size=None, size_help='of one half (that of each photo)')
    command.set_defaults(run=folders)


def _add_style(
    command: argparse.ArgumentParser, *, size: tuple[int, int] | None, size_help: str
) -> None:
    command.add_argument('--size', metavar='WxH', type=_size, default=size, help=size_help)
    command.add_argument(
        '--format', choices=('png', 'jpg'), default='png',
        help='png keeps the labels exactly (default); jpg is smaller, and coded as Kaggle\'s pairs',
    )  # fmt: skip
    command.add_argument('--quality', type=whole_number(1, 100), help='of jpg, 1 to 100 (95)')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Make folders of pairs: photo left, colour-coded labels right.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest='command', required=True)
    for name, add, text, example in (
        ('cityscapes', _add_cityscapes, 'make pairs of the official Cityscapes', OFFICIAL),
        ('folders', _add_folders, 'make pairs of any photos and label maps', FOLDERS),
        ('synthetic', _add_synthetic, 'draw street scenes in the colours of Cityscapes', EXAMPLE),
    ):
        command = commands.add_parser(
            name,
            help=text,
            description=f'{text[0].upper()}{text[1:]}: OUT/train, OUT/val.',
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        add_debug(command)
        add_workers(command)
    return parser.parse_args(argv)


GOES_ON = 'the same command goes on from here'
ENDINGS = {
    Stopped: lambda error: (
        1, f'stopped: {error}. The pairs made so far are whole; mend this, and {GOES_ON}'
    ),
    PermissionError: lambda error: (
        2,
        f'no right to use {error.filename}; give a folder of yours, or have its rights changed '
        '(photos and label maps are read, OUT is written)',
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Runs the command: 1 also for a run that lacks some pairs, else see ``run_command``."""
    args = parse_args(argv)
    return run_command(TOOL, args.run, args, interrupted=GOES_ON, endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
