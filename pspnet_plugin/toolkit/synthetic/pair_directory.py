"""Directory of generated pairs; each pair depends only on the seed, its split and its number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.toolkit.conversion.pair_making import encode_pair
from pspnet_plugin.toolkit.synthetic.street import GENERATOR_VERSION, render_pair, street_scene
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.jobs import run_jobs, stopping
from pspnet_plugin.utils.output_directory import check_free, claim, image_files

SPLITS = ('train', 'val')
MARKER = '.synthetic.json'


@dataclass(frozen=True)
class Job:
    """Scene to draw; ``pair`` and ``truth`` are None where they exist or are not wanted."""

    seed: int
    split: str
    number: int
    pair: Path | None
    truth: Path | None


def draw_scene(job: Job) -> None:
    """Draw a scene and write its missing files."""
    rng = np.random.default_rng([job.seed, SPLITS.index(job.split), job.number])
    pair, truth = render_pair(*street_scene(rng))
    if job.truth:
        write_atomic(job.truth, cv2.imencode('.png', truth)[1].tobytes())
    if job.pair:
        write_atomic(job.pair, encode_pair(pair, suffix='.jpg', quality=95))


def missing(out: Path, truth: Path | None, *, seed: int, counts: dict[str, int]) -> Iterator[Job]:
    """List the scenes whose pair or truth does not exist yet."""
    for split, count in counts.items():
        for number in range(1, count + 1):
            pair = out / split / f'{number}.jpg'
            target = truth / split / f'{number}.png' if truth else None
            new_pair = None if pair.exists() else pair
            new_target = target if target and not target.exists() else None
            if new_pair or new_target:
                yield Job(seed, split, number, new_pair, new_target)


def make_scenes(
    out: Path, *, counts: dict[str, int], seed: int, truth: Path | None, workers: int
) -> None:
    """Draw the pairs that do not exist yet.

    Args:
        out: Directory of the pairs.
        counts: Number of pairs in each of ``SPLITS``.
        seed: Seed of all scenes.
        truth: Directory of exact label maps, or None.
        workers: Number of processes.

    Raises:
        ValueError: No pair is asked for, or a directory is occupied.
        OSError: A directory cannot be made.
        Stopped: A file could not be written, or a worker was killed.
    """
    if not any(counts.values()):
        raise ValueError('--train 0 --val 0: nothing to make; set one of them to 1 or more')
    if truth and truth.resolve().is_relative_to(out.resolve()):
        raise ValueError(f'--truth {truth} lies in the directory of the pairs; give another one')
    made_by = {'seed': seed, 'generator': GENERATOR_VERSION}
    folders = [out, truth] if truth else [out]
    for folder in folders:
        foreign = (path for split in SPLITS for path in image_files(folder / split))
        check_free(folder, marker=MARKER, made_by=made_by, foreign=foreign)
    for folder in folders:
        claim(folder, marker=MARKER, made_by=made_by, within=SPLITS)
    jobs = list(missing(out, truth, seed=seed, counts=counts))
    with stopping():
        list(run_jobs(draw_scene, jobs, workers=workers, unit='pair'))
