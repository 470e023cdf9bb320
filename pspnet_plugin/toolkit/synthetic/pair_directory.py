"""A folder of generated pairs.

Every picture depends on the seed, its split and its number alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.toolkit.conversion.pair_making import encode_pair
from pspnet_plugin.toolkit.synthetic.street import GENERATOR_VERSION, render_pair, street_scene
from pspnet_plugin.utils.jobs import run_jobs, stopping, write_atomic
from pspnet_plugin.utils.output_directory import check_free, claim, pictures

SPLITS = ('train', 'val')
MARKER = '.synthetic.json'


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
        write_atomic(job.truth, cv2.imencode('.png', truth)[1].tobytes())
    if job.pair:
        write_atomic(job.pair, encode_pair(pair, suffix='.jpg', quality=95))


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


def make_scenes(
    out: Path, *, counts: dict[str, int], seed: int, truth: Path | None, workers: int
) -> None:
    """Draws the pairs that are not there yet.

    Args:
        out: Folder of the pairs.
        counts: How many in each of ``SPLITS``.
        seed: Of all pictures.
        truth: Folder of exact index maps, too, unless None.
        workers: Number of processes.

    Raises:
        ValueError: the counts make no sense or a folder is taken.
        OSError: a folder cannot be made.
        Stopped: a picture could not be written, or a worker was killed.
    """
    if not any(counts.values()):
        raise ValueError('--train 0 --val 0: nothing to make; give at least one a number above 0')
    if truth and truth.resolve().is_relative_to(out.resolve()):
        raise ValueError(f'--truth {truth} lies in the folder of the pairs; give another one')
    made_by = {'seed': seed, 'generator': GENERATOR_VERSION}
    folders = [out, truth] if truth else [out]
    for folder in folders:
        foreign = (path for split in SPLITS for path in pictures(folder / split))
        check_free(folder, marker=MARKER, made_by=made_by, foreign=foreign)
    for folder in folders:
        claim(folder, marker=MARKER, made_by=made_by, within=SPLITS)
    jobs = list(missing(out, truth, seed=seed, counts=counts))
    with stopping():
        list(run_jobs(make_picture, jobs, workers=workers, unit='pair'))  # it works as it is asked
