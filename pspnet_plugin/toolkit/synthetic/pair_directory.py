"""Directory of generated pairs; each pair depends only on the seed, its split and its number."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pspnet_plugin.toolkit.conversion.pair_making import encode_pair
from pspnet_plugin.toolkit.synthetic.street import GENERATOR_VERSION, render_pair, street_scene
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.jobs import run_jobs, stopping
from pspnet_plugin.utils.output_directory import check_free, claim, image_files

SPLITS = ('train', 'val')
MARKER = '.synthetic.json'


class Job(NamedTuple):
    """Scene to draw; ``truth`` is None where none is wanted."""

    seed: tuple[int, int, int]  # of all scenes, index of the split, number
    pair: Path
    truth: Path | None

    @property
    def done(self) -> bool:
        """True if its files exist."""
        return self.pair.exists() and (self.truth is None or self.truth.exists())


def draw_scene(job: Job) -> None:
    """Draw a scene and write its missing files."""
    pair, truth = render_pair(*street_scene(np.random.default_rng(job.seed)))
    if job.truth and not job.truth.exists():
        write_atomic(job.truth, cv2.imencode('.png', truth)[1].tobytes())
    if not job.pair.exists():
        write_atomic(job.pair, encode_pair(pair, suffix='.jpg', quality=95))


def make_scenes(
    out: Path, *, counts: dict[str, int], seed: int, truth: Path | None, workers: int
) -> None:
    """Draw the pairs of each of ``SPLITS``, and their exact label maps, that do not exist yet.

    ``ValueError``: no pair is asked for, or a directory is occupied. ``OSError``: a directory
    cannot be made. ``Stopped``: a file could not be written, or a worker was killed.
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
    jobs = [
        Job((seed, index, n), out / f'{split}/{n}.jpg', truth and truth / f'{split}/{n}.png')
        for index, split in enumerate(SPLITS)
        for n in range(1, counts[split] + 1)
    ]
    with stopping():
        list(run_jobs(draw_scene, [j for j in jobs if not j.done], workers=workers, unit='pair'))
