"""Splits pairs into photos and index maps, the layout that stock datasets and other programs read.

Photos go to ``OUT/img_dir/SPLIT``, 8-bit index maps of the same names to ``OUT/ann_dir/SPLIT``.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from pspnet_plugin.datasets.listing import images_in, roots_of
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.toolkit.arguments import add_label_options
from pspnet_plugin.toolkit.conversion.pair_splitting import Job, find_jobs, split_pair
from pspnet_plugin.utils.arguments import add_workers
from pspnet_plugin.utils.command_line import add_debug, complain, run_command
from pspnet_plugin.utils.jobs import Stopped, run_jobs, stopping
from pspnet_plugin.utils.output_directory import check_free, claim
from pspnet_plugin.version import __version__

MARKER = '.split_pairs.json'
TOOL = 'split_pairs'
GOES_ON = 'the same command goes on from here'
EXAMPLE = """example:
  python tools/dataset_converters/split_pairs.py data/cityscapes_pairs data/cityscapes_split
  python tools/train.py configs/psp_cityscapes_split.py

Every folder in PAIRS that holds pairs is a split. OUT/metainfo.json names the classes, index by
index. Given again, the command goes on where it stopped, and redoes pairs that have changed since.
"""


def split_all(
    jobs: Sequence[Job], out: Path, *, decoder: LabelDecoder, args: argparse.Namespace
) -> int:
    """Does what is not done yet and says how it went; the exit status is 1 for any trouble."""
    todo = [job for job in jobs if not job.done()]
    done, bad = len(jobs) - len(todo), 0
    if done:
        print(f'{done} of {len(jobs)} pairs are done already')
    work = partial(split_pair, decoder=decoder, photo_side=args.photo_side)
    try:
        with stopping():
            for _, reason in run_jobs(work, todo, workers=args.workers, unit='pair'):
                if reason:
                    bad += 1
                    tqdm.write(f'{TOOL}: {reason}', file=sys.stderr)
                else:
                    done += 1
    except Stopped as error:
        complain(
            TOOL,
            f'stopped: {error}. {done} of {len(jobs)} pairs are done and kept in '
            f'{out}; mend this and {GOES_ON}.',
        )
        return 1
    print(f'{done} of {len(jobs)} pairs are in {out}/img_dir and {out}/ann_dir')
    if bad:
        complain(
            TOOL,
            f'bad pairs left out, each named above: {bad}; once mended, the same command adds them',
        )
    left = {*(out / 'img_dir').rglob('[!.]*.png')} - {job.photo for job in jobs}
    if left:
        complain(
            TOOL,
            f'pictures in {out} whose pair is gone: {len(left)}, e.g. {min(left)}; '
            'remove them and their labels, or start with another OUT',
        )
    return 1 if bad or left else 0


def split(args: argparse.Namespace) -> int:
    """Checks everything, then splits; returns the exit status.

    Raises:
        OSError: a folder is missing or may not be read or written.
        ValueError: an option is unusable, or ``OUT`` or ``PAIRS`` is not what it should be.
    """
    metainfo = read_metainfo(args.palette)
    decode = dict(
        rule=args.rule, max_distance=args.max_distance, min_confidence=args.min_confidence,
        min_explained=args.min_explained,
    )  # fmt: skip
    decoder = LabelDecoder(metainfo['palette'], void_palette=metainfo['void_palette'], **decode)
    jobs = find_jobs(args.pairs, args.out)
    made_by = dict(
        pairs=str(args.pairs.resolve()), photo_side=args.photo_side, **decode, **metainfo,
        version=__version__,
    )  # fmt: skip
    foreign = sorted(args.out.glob('[!.]*'))
    check_free(args.out, marker=MARKER, made_by=made_by, foreign=foreign)
    claim(
        args.out,
        marker=MARKER,
        made_by=made_by,
        metainfo={key: metainfo[key] for key in ('classes', 'palette')},
        within={path.parent.relative_to(args.out) for j in jobs for path in (j.photo, j.labels)},
    )
    if stray := [picture for root in roots_of(args.pairs) for picture in images_in(root)]:
        complain(TOOL, f'pictures beside the splits are left out: {len(stray)}, e.g. {stray[0]}')
    return split_all(jobs, args.out, decoder=decoder, args=args)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Split pairs into photos (OUT/img_dir) and 8-bit index maps (OUT/ann_dir).',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('pairs', metavar='PAIRS', type=Path, help='folder of the splits, such as train and val')
    add('out', metavar='OUT', type=Path, help='folder to write; new, or of a run to go on with')
    add(
        '--palette', default='cityscapes', metavar='NAME',
        help='cityscapes (default), camvid, a stock dataset (LoveDADataset …), or a .json, .yaml '
        'or .py file with classes and palette',
    )  # fmt: skip
    add_label_options(parser)
    add_workers(parser)
    add_debug(parser)
    return parser.parse_args(argv)


ENDINGS = {
    PermissionError: lambda error: (
        2,
        f'no right to use {error.filename}; give a folder of yours, or have its rights changed '
        '(PAIRS is read, OUT is written)',
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    args = parse_args(argv)
    return run_command(TOOL, split, args, interrupted=GOES_ON, endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
