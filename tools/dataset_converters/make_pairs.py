"""Make directories of side-by-side pairs: photo in the left half, coloured labels in the right.

``cityscapes`` converts the official data set, ``folders`` any photos and label maps; ``synthetic``
draws street scenes in the colours of Cityscapes, to try a complete training without a data set.
"""

import argparse
import sys
from pathlib import Path
from shlex import quote

from pspnet_plugin.datasets import PairsDataset
from pspnet_plugin.labels.palettes import known_palettes, read_metainfo, reduces_zero_label
from pspnet_plugin.toolkit.conversion.class_pixels import find_absent
from pspnet_plugin.toolkit.conversion.config_writer import LARGEST_SIDE, update_config
from pspnet_plugin.toolkit.conversion.conversion_run import ENDINGS, RESUME
from pspnet_plugin.toolkit.conversion.label_format import (
    MEANINGS,
    LabelFormat,
    with_own_colors,
    with_void,
)
from pspnet_plugin.toolkit.conversion.label_meaning import find_meaning
from pspnet_plugin.toolkit.conversion.matching import (
    LABEL_KINDS,
    Ends,
    MatchedPhotos,
    cityscapes_format,
    match_cityscapes,
    match_folders,
)
from pspnet_plugin.toolkit.conversion.pair_making import (
    TURNS,
    PairFormat,
    make_pairs,
    report_turned,
)
from pspnet_plugin.toolkit.synthetic.pair_directory import SPLITS, make_scenes
from pspnet_plugin.utils.command_line import (
    add_bits,
    add_debug,
    add_workers,
    bounded_int,
    complain,
    format_bits,
    run_command,
)
from pspnet_plugin.utils.output_directory import image_files

AGAIN = 'The same command resumes an interrupted run.'
CHANGED = 'It also makes pairs again whose photo or label map has changed.'
TOOL = 'make_pairs'
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
EXAMPLE = f"""example:
  python tools/dataset_converters/make_pairs.py synthetic data/synthetic --train 400 --val 60

{AGAIN}
"""
OFFICIAL = f"""example, with leftImg8bit/ and gtFine/ of the official archives in data/cityscapes:
  python tools/dataset_converters/make_pairs.py cityscapes data/cityscapes data/pairs

Halves are 256 x 256, as in Kaggle's pairs; --size 512x256 keeps the proportions of the photos.
Ids that are no train class keep their own colours (parking, static, ...) from labelIds and color.
Groups of poles, which have the colour of pole, become black from labelIds and pole from color.
{AGAIN} {CHANGED}
"""
FOLDERS = f"""examples:
  python tools/dataset_converters/make_pairs.py folders photos labels data/my_pairs \\
      --palette my.json --config configs/my_pairs.py
  python tools/dataset_converters/make_pairs.py folders cs/leftImg8bit cs/gtFine data/pairs \\
      --palette cityscapes --img-suffix _leftImg8bit --ann-suffix _gtFine_labelTrainIds

my.json: {{"classes": ["wall", "door"], "palette": [[0, 0, 255], [0, 170, 255]],
          "void_palette": [[0, 0, 0]]}}; the last one if some colours are no class.
Label maps hold class indices (one channel of 8 or 16 bits, or a PNG with a colour table; 255 is
ignored) or exactly the colours of the palette; what is transparent is ignored. OUT/metainfo.json
lists classes and colours. Sub-directories such as train, valid and test are kept, test out of the
training. IMG_DIR and ANN_DIR may be one directory with train/images, train/masks and so on.
{AGAIN} {CHANGED}
"""
MAP_KINDS = dict(grey='one channel', grey_rgb='grey RGB', table='a colour table')
USE = """in the datasets of a config, with num_classes={classes} in the heads of its model:
  type='PairsDataset', data_root={out!r}, metainfo={metainfo!r}
the same command with --config configs/NAME.py writes a complete one"""


def synthetic(args: argparse.Namespace) -> int:
    """Run the ``synthetic`` command."""
    counts = {'train': args.train, 'val': args.val}
    make_scenes(args.out, counts=counts, seed=args.seed, truth=args.truth, workers=args.workers)
    listed = ', '.join(f'{len(list((args.out / s).glob("*.jpg")))} in {s}' for s in SPLITS)
    print(f'pairs in {args.out}: {listed}')
    if args.truth:
        print(f'exact index maps in {args.truth}, 8-bit PNG with 255 for void')
    return 0


def cityscapes(args: argparse.Namespace) -> int:
    """Run the ``cityscapes`` command."""
    _check_outside(args.out, args.root / 'leftImg8bit', args.root / 'gtFine')
    matched, kind = match_cityscapes(args.root, args.labels)
    width, height = args.size
    print(f'{args.root}: labels from *_gtFine_{kind}.png; halves of {width} x {height} pixels')
    if (args.root / 'leftImg8bit' / 'test').is_dir():
        print('skipped test: its label maps are dummies')
    made_from = {'root': str(args.root.resolve()), 'labels': kind}
    metainfo = read_metainfo('cityscapes')
    status = _make(args, matched, cityscapes_format(kind), made_from=made_from, metainfo=metainfo)
    print(
        'to train on them:\n'
        f'  PAIRS_ROOT={quote(str(args.out))} python tools/train.py configs/psp_cityscapes_pairs.py'
    )
    return status


def folders(args: argparse.Namespace) -> int:
    """Run the ``folders`` command."""
    _check_outside(args.out, args.img_dir, args.ann_dir)
    if args.config and (args.config.suffix != '.py' or not args.config.absolute().parent.is_dir()):
        raise ValueError(
            f'--config {args.config}: give a name ending in .py, in an existing directory'
        )
    if args.size and args.max_side:
        raise ValueError(f'--max-side {args.max_side} and --size: give one of them')
    if args.config and not args.size and args.max_side is None:
        args.max_side = LARGEST_SIDE
    metainfo = read_metainfo(args.palette)
    if args.palette in known_palettes():  # not in a file, where it is a mistake
        metainfo = with_own_colors(metainfo)
    shared = metainfo.pop('shared_colors', [])
    metainfo = with_void(metainfo)
    PairsDataset(metainfo=metainfo, lazy_init=True)  # checks classes and colours
    reduce = args.reduce_zero_label
    if reduce is None and (reduce := reduces_zero_label(args.palette)):
        print(f'{args.palette} counts its classes from 1 in index maps: 0 is ignored there')
    label_format = LabelFormat.from_metainfo(
        {**metainfo, 'shared_colors': shared}, reduce_zero_label=reduce, jpeg=args.jpeg_labels
    )
    if shared:
        print(f'{args.palette} gives {len(shared)} colours to several classes, which get their own')
    matched = match_folders(
        args.img_dir, args.ann_dir, photo_ends=Ends(args.img_prefix, args.img_suffix),
        label_ends=Ends(args.ann_prefix, args.ann_suffix), splits=args.splits,
    )  # fmt: skip
    tops = sorted({name.split('/')[0] for name in matched.files if '/' in name})
    if tops and args.splits is None and not matched.splits():
        print(
            f'no train, val or test among the directories ({", ".join(tops[:5])}): all are trained '
            'on, with a tenth held out; --splits says which are one'
        )
    if matched.skipped:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in matched.skipped.most_common())
        print(f'other files, skipped: {listed}')
    labels = [file for _, file in matched.files.values()]
    classes = metainfo['classes']
    if args.label_values == 'auto':
        label_format = find_meaning(labels, label_format, names=classes)
    else:
        label_format = label_format.decide(args.label_values)
    meanings = {name: getattr(label_format, name) for name in ('grey', 'grey_rgb', 'table')}
    unusual = {n: m for n, m in meanings.items() if m != getattr(LabelFormat, n)}
    for name, meaning in unusual.items():
        values = 'colours tell the classes' if meaning == 'color' else 'values are class indices'
        print(f'label maps of {MAP_KINDS[name]}: their {values}')
    report_turned(matched, args.turn_labels, tool=TOOL)
    made_from = {
        'img_dir': str(args.img_dir.resolve()),
        'ann_dir': str(args.ann_dir.resolve()),
        'img_suffix': args.img_suffix,
        'ann_suffix': args.ann_suffix,
    }
    given = dict(img_prefix='', ann_prefix='', reduce_zero_label=False, jpeg_labels=False)
    values = {**vars(args), 'reduce_zero_label': reduce}
    made_from |= {key: values[key] for key, default in given.items() if values[key] != default}
    if unusual:
        made_from['label_values'] = unusual
    status = _make(args, matched, label_format, made_from=made_from, metainfo=metainfo)
    others = {'val', 'test'} & matched.splits()
    trained = [f for name, (_, f) in matched.files.items() if name.split('/')[0] not in others]
    if absent := find_absent(trained or labels, label_format, workers=args.workers):
        named = ', '.join(classes[i] for i in absent)
        complain(TOOL, f'classes without a pixel in any label map that is trained on: {named}')
    suffix = f'.{args.format}'
    made = any(path.suffix == suffix for path in image_files(args.out))
    if made and args.config:
        print(
            update_config(
                args.config,
                args.out,
                matched,
                label_format,
                classes=classes,
                suffix=suffix,
                configs=CONFIGS,
            )
        )
        print(f'to train with it:\n  python tools/train.py {quote(str(args.config))}')
        _advise(args, matched)
    elif made:
        use = dict(out=str(args.out), classes=len(metainfo['classes']))
        print(USE.format(**use, metainfo=str(args.out / 'metainfo.json')))
    return status


def _advise(args: argparse.Namespace, matched: MatchedPhotos) -> None:
    """Say what else the pairs mean for predictions."""
    bits = f' --bits {format_bits(args.bits)}' if args.bits else ''
    if bits:
        print(f'photos were scaled to 8 bits; give predict.py{bits} too')
    ends = args.ann_suffix or args.ann_prefix
    if 'test' in matched.splits() and ends and args.img_dir.resolve() == args.ann_dir.resolve():
        print('test is kept out; to label it then, give predict.py its photos alone')
    elif 'test' in matched.splits():
        print(
            'test is kept out; to label it then:\n  python tools/predict.py '
            f'{" ".join(quote(str(path)) for path in matched.test_dirs)} '
            f'--config {quote(str(args.config))} --checkpoint … --out …{bits}'
        )


def _check_outside(out: Path, *sources: Path) -> None:
    for folder in sources:
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'OUT {out} lies in {folder}. Give another directory')


def _make(
    args: argparse.Namespace,
    matched: MatchedPhotos,
    label_format: LabelFormat,
    *,
    made_from: dict,
    metainfo: dict,
) -> int:
    if args.quality and args.format != 'jpg':
        raise ValueError(f'--quality {args.quality} needs --format jpg; png is lossless')
    max_side = getattr(args, 'max_side', None) or None
    size = args.size and args.size[::-1]  # (height, width)
    pair_format = PairFormat(
        label_format, size, f'.{args.format}', args.quality or 95, max_side,
        bits=getattr(args, 'bits', None), turn=getattr(args, 'turn_labels', 'auto'),
    )  # fmt: skip
    return make_pairs(
        args.out, matched, pair_format,
        made_from=made_from, metainfo=metainfo, workers=args.workers, tool=TOOL,
    )  # fmt: skip


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split('x')
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) < 1 << 15 for side in sides):
        raise argparse.ArgumentTypeError(f'{text!r} is no size. Give e.g. 512x256, or one number')
    return int(sides[0]), int(sides[-1])


class _Splits(argparse.Action):
    """Parse ``train=A val=B``, or ``none``, into the split of each directory."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: D102
        pairs = [value.partition('=')[::2] for value in values if value != 'none']
        for split, directory in pairs:
            if split not in ('train', 'val', 'test') or not directory:
                parser.error(f'{option_string} {split}={directory}: give train=, val= or test=DIR')
        directories = [directory for _, directory in pairs]
        if twice := [name for name in directories if directories.count(name) > 1]:
            parser.error(f'{option_string}: {twice[0]} is given twice')
        if pairs and len(pairs) < len(values):
            parser.error(f'{option_string}: none stands alone')
        setattr(namespace, self.dest, {directory: split for split, directory in pairs})


def _add_synthetic(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add('out', metavar='OUT', type=Path, help='directory of the pairs')
    add('--train', type=bounded_int(0), default=400, help='pairs in OUT/train (400)')
    add('--val', type=bounded_int(0), default=60, help='pairs in OUT/val (60)')
    add('--seed', type=bounded_int(0), default=0, help='seed of all images (0)')
    add('--truth', metavar='DIR', type=Path, help='also write exact index maps, DIR/train/1.png')
    command.set_defaults(run=synthetic)


def _add_cityscapes(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add('root', metavar='ROOT', type=Path, help='directory of leftImg8bit and gtFine')
    add('out', metavar='OUT', type=Path, help='directory of the pairs')
    add('--labels', choices=LABEL_KINDS, help='kind of label maps (the first of these that exists)')
    size_help = "width and height of one half (256x256, as in Kaggle's pairs)"
    _add_format(command, size=(256, 256), size_help=size_help)
    command.set_defaults(run=cityscapes)


def _add_folders(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add('img_dir', metavar='IMG_DIR', type=Path, help='directory of the photos')
    add('ann_dir', metavar='ANN_DIR', type=Path, help='directory of label maps of the same names')
    add('out', metavar='OUT', type=Path, help='directory of the pairs')
    add(
        '--palette', required=True,
        help='a known one (cityscapes, camvid, or a stock dataset: LoveDADataset …), or a .json, '
        '.yaml or .py file; see below',
    )  # fmt: skip
    add(
        '--img-suffix', metavar='END', default='',
        help="end of photos' names that label maps do not have, e.g. _leftImg8bit or .jpg",
    )  # fmt: skip
    add('--ann-suffix', metavar='END', default='', help='the same for label maps')
    add('--img-prefix', metavar='BEGIN', default='', help='begin of their names, e.g. image_')
    add('--ann-prefix', metavar='BEGIN', default='', help='the same for label maps, e.g. mask_')
    add(
        '--splits', nargs='+', metavar='SPLIT=DIR', action=_Splits,
        help='sub-directories that train, are validated on or only tested (train=A val=B test=C), '
        'or none; by default those with usual names, such as valid and Test',
    )  # fmt: skip
    add(
        '--label-values', choices=('auto', *MEANINGS), default='auto',
        help='what tells the classes of grey label maps and of those with a colour table: class '
        'indices, or colours of the palette (auto: colours, if the palette has them all)',
    )  # fmt: skip
    add(
        '--reduce-zero-label', action=argparse.BooleanOptionalAction,
        help='index 0 is ignored, and the classes are counted from 1 (default: as the stock '
        'dataset that --palette names)',
    )  # fmt: skip
    add(
        '--jpeg-labels', action='store_true',
        help='decode label maps that are JPEGs, or lost precision otherwise, by the edge-aware '
        'rule; they are refused without',
    )  # fmt: skip
    add(
        '--turn-labels', choices=TURNS, default='auto',
        help='turn label maps with photos that EXIF turns (auto: those with the size of the photo '
        'as it is stored)',
    )  # fmt: skip
    add_bits(command)
    add(
        '--config', metavar='FILE', type=Path,
        help='write a config that trains on the pairs, e.g. configs/my_pairs.py; one that was '
        'changed by hand is kept',
    )  # fmt: skip
    add(
        '--max-side', metavar='PIXELS', type=bounded_int(0),
        help='shrink larger photos, and their labels, to this length of the longer side; 0 never '
        f'does (with --config {LARGEST_SIDE}, the largest that it trains on; else 0)',
    )  # fmt: skip
    size_help = 'width and height of one half (those of each photo)'
    _add_format(command, size=None, size_help=size_help)
    command.set_defaults(run=folders)


def _add_format(
    command: argparse.ArgumentParser, *, size: tuple[int, int] | None, size_help: str
) -> None:
    add = command.add_argument
    add('--size', metavar='WxH', type=_size, default=size, help=size_help)
    add(
        '--format', choices=('png', 'jpg'), default='png',
        help="png keeps the labels exactly (default); jpg is smaller, compressed as Kaggle's pairs",
    )  # fmt: skip
    add('--quality', type=bounded_int(1, 100), help='JPEG quality, 1 to 100 (95)')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Make directories of pairs: photo left, colour-coded labels right.',
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


def main(argv: list[str] | None = None) -> int:
    """Run a command: status 1 also if some pairs are missing, else see ``run_command``."""
    args = parse_args(argv)
    return run_command(TOOL, args.run, args, interrupted=RESUME, endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
