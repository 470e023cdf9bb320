"""Pairs made of photos and label maps: photo in the left half, coloured labels in the right.

A pair that is there already is not made again, and one that cannot be made is named while the
others go on.

Shape shorthand in this module: H, W: height and width of one half.
"""

import json
import sys
from collections import Counter
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pspnet_plugin.datasets.label_maps import Legend, read_labels, read_photo
from pspnet_plugin.datasets.photo_folders import Matched
from pspnet_plugin.datasets.resizing import Size, resize_labels, resize_photo
from pspnet_plugin.engine.jobs import run_jobs, write_whole
from pspnet_plugin.engine.made_folder import check_free, claim

MARKER = '.pairs.json'
WHOLE = 'pairs made so far are whole'


class Stopped(RuntimeError):
    """A run that broke off; the same command goes on."""


@dataclass(frozen=True)
class Job:
    """One pair to make from a photo and its label map."""

    photo: Path
    labels: Path
    pair: Path


@dataclass(frozen=True)
class Style:
    """How pairs are made.

    Args:
        legend: What the values of the label maps mean.
        size: Width and height of one half; None keeps those of the photo.
        suffix: ``'.png'``, without loss, or ``'.jpg'``.
        quality: Of JPEG, 1 to 100.
    """

    legend: Legend
    size: Size | None
    suffix: str
    quality: int

    def encode(self, photo: np.ndarray, labels: np.ndarray) -> bytes:
        """The picture file of an (H, W, 3) RGB photo and its (H, W) positions in the legend.

        Raises:
            ValueError: it is too large for the format.
        """
        if self.size:
            photo, labels = resize_photo(photo, self.size), resize_labels(labels, self.size)
        colors = np.array(self.legend.colors, np.uint8)[labels]
        pair = cv2.cvtColor(np.hstack([photo, colors]), cv2.COLOR_RGB2BGR)  # (H, 2W, 3)
        return encode_pair(pair, suffix=self.suffix, quality=self.quality)


def encode_pair(pair: np.ndarray, *, suffix: str, quality: int) -> bytes:
    """The file of a pair, (H, 2W, 3) uint8 BGR.

    Args:
        pair: Photo and colours side by side.
        suffix: ``'.png'``, without loss, or ``'.jpg'``, coded as Kaggle's pairs: chroma at half
            the resolution, which blurs colours at edges.
        quality: Of JPEG, 1 to 100.

    Raises:
        ValueError: it is too large for the format.
    """
    jpeg = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip
    try:
        done, content = cv2.imencode(suffix, pair, jpeg if suffix == '.jpg' else [])
    except cv2.error:  # as OpenCV 4 says it
        done = False
    if not done:
        height, width = pair.shape[:2]
        raise ValueError(
            f'a pair of {width} x {height} pixels (width x height) does not fit into a {suffix} '
            'file; give a smaller --size'
        )
    return content.tobytes()


def make_pair(job: Job, style: Style) -> str | None:
    """Makes one pair.

    Returns:
        Why it cannot be made, else None.

    Raises:
        OSError: it cannot be written.
    """
    try:
        photo, labels = read_photo(job.photo), read_labels(job.labels, style.legend)
        if photo.shape[:2] != labels.shape:
            sizes = ['{1} x {0}'.format(*array.shape) for array in (photo, labels)]
            raise ValueError(
                f'{job.photo} has {sizes[0]} pixels (width x height), its label map {job.labels} '
                f'has {sizes[1]}; they must be the same: take the label map of this very photo'
            )
    except (OSError, ValueError) as error:
        return str(error)
    try:
        content = style.encode(photo, labels)
    except ValueError as error:
        return f'{job.photo}: {error}'
    job.pair.parent.mkdir(parents=True, exist_ok=True)
    write_whole(job.pair, content)
    return None


def fill_folder(
    out: Path, matched: Matched, style: Style, *, made_from: dict, metainfo: dict, workers: int
) -> bool:
    """Makes the pairs that are not there yet, and names on stderr what cannot be made.

    Args:
        out: Folder of the pairs; ``metainfo.json`` goes there, too.
        matched: Photos with their label maps.
        style: How they are made.
        made_from: What settles, beside ``style``, what the pairs are, as JSON has it.
        metainfo: Classes and colours.
        workers: Number of processes.

    Returns:
        Whether there is a pair for every photo.

    Raises:
        ValueError: the folder is taken.
        OSError: it cannot be made.
        Stopped: a pair could not be written, or a worker was killed.
    """
    look = {'size': style.size, 'format': style.suffix[1:], 'quality': style.quality}
    made_by = {**made_from, **look, 'metainfo': metainfo}
    check_free(out, marker=MARKER, made_by=made_by)
    claim(out, marker=MARKER, made_by=made_by)
    write_whole(out / 'metainfo.json', json.dumps(metainfo, indent=1).encode())
    if matched.lonely:
        shown = ', '.join(matched.lonely[:10]) + (', ...' if matched.lonely[10:] else '')
        complain(
            f'photos without a label map: {len(matched.lonely)}, left out: {shown}. Add the maps '
            'or take the photos away'
        )
    if matched.spare:
        print(f'{matched.spare} label maps have no photo and are left out')
    jobs = [Job(*files, out / f'{name}{style.suffix}') for name, files in matched.files.items()]
    missing = [job for job in jobs if not job.pair.exists()]
    bad = 0
    try:
        make = partial(make_pair, style=style)
        for _, problem in run_jobs(make, missing, workers=workers, unit='pair'):
            if problem:
                bad += 1
                tqdm.write(f'make_pairs: {problem}', file=sys.stderr)
    except OSError as error:
        raise Stopped(f'{error}; {WHOLE}. Mend that and give the same command') from None
    except BrokenExecutor:
        raise Stopped(
            f'a worker process was killed, as happens when memory is short; {WHOLE}. Give the same '
            'command with fewer --workers'
        ) from None
    there = Counter(str(job.pair.parent.relative_to(out)) for job in jobs if job.pair.exists())
    listed = ', '.join(f'{count} in {folder}' for folder, count in there.items())
    print(f'pairs in {out}: {listed or "none"}')
    if bad:
        complain(
            f'{bad} of {len(jobs)} pairs could not be made; mend their files and give the same '
            'command, which keeps what is there'
        )
    return not bad and not matched.lonely


def complain(text: str) -> None:
    """One line on stderr."""
    print(f'make_pairs: {text}', file=sys.stderr)
