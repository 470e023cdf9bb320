"""Makes folders of side-by-side pairs: photo in the left half, colour-coded labels in the right.

``synthetic`` draws street scenes in the colours of Cityscapes, so that a whole training can be
tried without any data set. Every picture depends on the seed, its split and its number alone.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.datasets.pairs import SUFFIXES
from pspnet_plugin.datasets.scenes import GENERATOR_VERSION, render_pair, street_scene
from pspnet_plugin.engine.jobs import run_jobs, write_whole

SPLITS = ('train', 'val')
MARKER = '.synthetic.json'
# As the real pairs were coded: chroma at half the resolution, which blurs colours at edges.
JPEG = [
    cv2.IMWRITE_JPEG_QUALITY, 95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
]  # fmt: skip
EXAMPLE = """example:
  python tools/dataset_converters/make_pairs.py synthetic data/synthetic --train 400 --val 60

A run that was interrupted goes on where it stopped when the same command is given again.
"""


@dataclass(frozen=True)
class Job:
    """One picture to make; a path that is None is there already or not wanted."""

    seed: int
    split: str
    number: int
    pair: Path | None
    truth: Path | None


def make_picture(job: Job) -> None:
    """Draws the scene of ``job`` and writes what is missing of it."""
    rng = np.random.default_rng([job.seed, SPLITS.index(job.split), job.number])
    pair, truth = render_pair(*street_scene(rng))
    if job.truth:
        write_whole(job.truth, cv2.imencode('.png', truth)[1].tobytes())
    if job.pair:
        write_whole(job.pair, cv2.imencode('.jpg', pair, JPEG)[1].tobytes())


def check_free(folder: Path, *, made_by: dict[str, int]) -> None:
    """Makes sure that pictures made by this run may go into ``folder``.

    Raises:
        ValueError: it holds pictures of another seed or generator, or somebody's own.
    """
    marker = folder / MARKER
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except ValueError:
            found = 'an unreadable marker'
        if found != made_by:
            raise ValueError(
                f'{folder} holds pictures made with {found}, this run makes {made_by}. Give '
                'another folder, or the same seed, or remove that folder.'
            )
        return
    for split in SPLITS:
        for path in (folder / split).rglob('*'):
            if path.suffix.lower() in SUFFIXES:
                raise ValueError(
                    f'{path} was not made by this tool ({marker} is missing), and synthetic pairs '
                    'are not mixed with others. Give another folder.'
                )


def claim(folder: Path, *, made_by: dict[str, int]) -> None:
    """Makes ``folder`` with its splits, and marks it before the first picture is in it."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
    if not (folder / MARKER).exists():
        write_whole(folder / MARKER, json.dumps(made_by).encode())


def missing(out: Path, truth: Path | None, *, seed: int, counts: dict[str, int]) -> Iterator[Job]:
    """The jobs whose pair or truth is not there yet."""
    for split, count in counts.items():
        for number in range(1, count + 1):
            pair = out / split / f'{number}.jpg'
            target = truth / split / f'{number}.png' if truth else None
            pair = None if pair.exists() else pair
            target = None if target and target.exists() else target
            if pair or target:
                yield Job(seed, split, number, pair, target)


def synthetic(args: argparse.Namespace) -> None:
    """The ``synthetic`` command.

    Raises:
        ValueError: the counts make no sense or a folder is taken.
    """
    counts = {'train': args.train, 'val': args.val}
    if not any(counts.values()):
        raise ValueError('--train 0 --val 0: nothing to make; give at least one a number above 0')
    if args.truth and args.truth.resolve().is_relative_to(args.out.resolve()):
        raise ValueError(f'--truth {args.truth} lies in the folder of the pairs; give another one')
    made_by = {'seed': args.seed, 'generator': GENERATOR_VERSION}
    folders = [args.out, args.truth] if args.truth else [args.out]
    for folder in folders:
        check_free(folder, made_by=made_by)
    for folder in folders:
        claim(folder, made_by=made_by)
    jobs = list(missing(args.out, args.truth, seed=args.seed, counts=counts))
    for _ in run_jobs(make_picture, jobs, workers=args.workers, unit='pair'):
        pass
    there = ', '.join(f'{len(list((args.out / s).glob("*.jpg")))} in {s}' for s in SPLITS)
    print(f'pairs in {args.out}: {there}')
    if args.truth:
        print(f'their truth in {args.truth}, 8-bit PNG with 255 for void')


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'{text!r} is no whole number of {least} or more')
        return int(text)

    return whole


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Make folders of pairs: photo left, colour-coded labels right.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser(
        'synthetic',
        help='draw street scenes in the colours of Cityscapes',
        description='Draw street scenes in the colours of Cityscapes: OUT/train, OUT/val.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument('out', metavar='OUT', type=Path, help='folder of the pairs')
    whole, cores = _at_least(0), os.cpu_count() or 1
    command.add_argument('--train', type=whole, default=400, help='pairs in OUT/train (400)')
    command.add_argument('--val', type=whole, default=60, help='pairs in OUT/val (60)')
    command.add_argument('--seed', type=whole, default=0, help='seed of all pictures (0)')
    command.add_argument(
        '--truth', metavar='DIR', type=Path, help='also write exact index maps, DIR/train/1.png'
    )
    command.add_argument(
        '--workers', type=_at_least(1), default=cores, help=f'processes (all cores: {cores})'
    )
    command.set_defaults(run=synthetic)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit status is 2 for what the user can mend, 130 after Ctrl-C."""
    args = parse_args(argv)
    try:
        args.run(args)
    except (OSError, ValueError) as error:
        print(f'make_pairs: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('make_pairs: interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
