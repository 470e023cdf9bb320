"""Pairs made of photos and label maps: photo in the left half, coloured labels in the right.

A pair that is there already is made again only where its photo or its label map has changed, and
one that cannot be made is named while the others go on.

Shape shorthand in this module: H, W: height and width of one half.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.toolkit.conversion.label_maps import Legend, read_labels, read_photo
from pspnet_plugin.toolkit.conversion.photo_folders import Matched
from pspnet_plugin.utils.jobs import run_jobs, same_time, stopping, write_atomic
from pspnet_plugin.utils.output_directory import METAINFO, check_free, claim, pictures
from pspnet_plugin.utils.resizing import Size, fit, resize_labels, resize_photo

MARKER = '.pairs.json'


@dataclass(frozen=True)
class Job:
    """One pair to make from a photo and its label map."""

    photo: Path
    labels: Path
    pair: Path

    def stamp(self) -> int:
        """The date that the pair shall carry, in ns: the middle between those of its two files.

        It moves when either of them is replaced, be it by an older one.
        """
        return (self.photo.stat().st_mtime_ns + self.labels.stat().st_mtime_ns) // 2

    def done(self) -> bool:
        """Whether the pair is there and carries ``stamp()``."""
        try:
            return same_time(self.pair.stat().st_mtime_ns, self.stamp())
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Filled:
    """What a folder of pairs holds after a run.

    Args:
        wanted: How many pairs belong in it.
        kept: How many of them were there already.
        there: How many are there now, by sub-folder.
        left: Pictures in it whose photo or label map is gone.
        lonely: Names of photos that have no label map.
    """

    wanted: int
    kept: int
    there: dict[str, int]
    left: list[Path]
    lonely: list[str]

    def troubles(self) -> list[str]:
        """What is not as it should be and how to mend it, a line each; none where all is well."""
        bad, lines = self.wanted - sum(self.there.values()), []
        if self.lonely:
            shown = ', '.join(self.lonely[:10]) + (', ...' if self.lonely[10:] else '')
            lines.append(
                f'photos without a label map: {len(self.lonely)}, left out: {shown}. Add the maps '
                'or take the photos away'
            )
        if bad:
            lines.append(
                f'{bad} of {self.wanted} pairs could not be made; mend their files and give the '
                'same command, which keeps what is there'
            )
        if self.left:
            lines.append(
                f'pictures whose photo or label map is gone: {len(self.left)}, e.g. '
                f'{self.left[0]}; remove them, or start with another OUT'
            )
        return lines


@dataclass(frozen=True)
class Style:
    """How pairs are made.

    Args:
        legend: What the values of the label maps mean.
        size: Height and width of one half; None keeps those of the photo.
        suffix: ``'.png'``, without loss, or ``'.jpg'``.
        quality: Of JPEG, 1 to 100.
        max_side: Pixels to which the longer side of larger photos is shrunk, in proportion.
    """

    legend: Legend
    size: Size | None
    suffix: str
    quality: int
    max_side: int | None = None

    def encode(self, photo: np.ndarray, labels: np.ndarray) -> bytes:
        """The picture file of an (H, W, 3) RGB photo and its (H, W) positions in the legend.

        Raises:
            ValueError: it is too large for the format.
        """
        size = self.size
        if self.max_side and max(photo.shape[:2]) > self.max_side:
            size = fit(photo.shape[:2], self.max_side)
        if size:
            photo, labels = resize_photo(photo, size), resize_labels(labels, size)
        colors = np.array(self.legend.colors, np.uint8)[labels]
        pair = cv2.cvtColor(np.hstack([photo, colors]), cv2.COLOR_RGB2BGR)  # (H, 2W, 3)
        return encode_pair(pair, suffix=self.suffix, quality=self.quality)


def jpeg_options(quality: int) -> list[int]:
    """What OpenCV's writer takes for JPEGs coded as Kaggle's pairs: chroma at half resolution."""
    return [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip


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
    try:
        done, content = cv2.imencode(
            suffix, pair, jpeg_options(quality) if suffix == '.jpg' else []
        )
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
    """Makes one pair, or removes what an earlier state of its files has left of it.

    Returns:
        Why it cannot be made, else None.

    Raises:
        OSError: it cannot be written.
    """
    try:
        stamp = job.stamp()  # before they are read: what changes meanwhile is made again
        content = _content(job, style)
    except (OSError, ValueError) as error:
        job.pair.unlink(missing_ok=True)
        return str(error)
    job.pair.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.pair, content, mtime_ns=stamp)
    return None


def _content(job: Job, style: Style) -> bytes:
    photo, labels = read_photo(job.photo), read_labels(job.labels, style.legend)
    if photo.shape[:2] != labels.shape:
        sizes = ['{1} x {0}'.format(*array.shape) for array in (photo, labels)]
        raise ValueError(
            f'{job.photo} has {sizes[0]} pixels (width x height), its label map {job.labels} '
            f'has {sizes[1]}; they must be the same: take the label map of this very photo'
        )
    try:
        return style.encode(photo, labels)
    except ValueError as error:
        raise ValueError(f'{job.photo}: {error}') from None


def fill_folder(
    out: Path,
    matched: Matched,
    style: Style,
    *,
    made_from: dict,
    metainfo: dict,
    workers: int,
    on_problem: Callable[[str], object],
) -> Filled:
    """Makes the pairs that are not there yet or whose files have changed.

    Args:
        out: Folder of the pairs; ``metainfo.json`` goes there, too.
        matched: Photos with their label maps.
        style: How they are made.
        made_from: What settles, beside ``style``, what the pairs are, as JSON has it.
        metainfo: Classes and colours.
        workers: Number of processes.
        on_problem: Told, as the run goes, why a pair cannot be made.

    Raises:
        ValueError: the folder is taken.
        OSError: it cannot be made.
        Stopped: a pair could not be written, or a worker was killed.
    """
    size = style.size and style.size[::-1]  # (width, height), as --size
    look = {'size': size, 'format': style.suffix[1:], 'quality': style.quality}
    if style.max_side:
        look['max_side'] = style.max_side
    made_by = {**made_from, **look, 'metainfo': metainfo}
    foreign = [*out.glob(METAINFO), *pictures(out)]
    check_free(out, marker=MARKER, made_by=made_by, foreign=foreign)
    claim(out, marker=MARKER, made_by=made_by, metainfo=metainfo)
    jobs = [Job(*files, out / f'{name}{style.suffix}') for name, files in matched.files.items()]
    todo = [job for job in jobs if not job.done()]
    with stopping():
        make = partial(make_pair, style=style)
        for _, problem in run_jobs(make, todo, workers=workers, unit='pair'):
            if problem:
                on_problem(problem)
    there = Counter(str(job.pair.parent.relative_to(out)) for job in jobs if job.pair.exists())
    left = {*out.rglob(f'[!.]*{style.suffix}')} - {job.pair for job in jobs}
    return Filled(len(jobs), len(jobs) - len(todo), dict(there), sorted(left), matched.lonely)
