"""Pairs to pairs of files: the photo and the index map, each a PNG of its own.

``PAIRS/SPLIT/NAME.jpg`` becomes ``OUT/img_dir/SPLIT/NAME.png``, the photo, and
``OUT/ann_dir/SPLIT/NAME.png``, one channel of class indices with 255 for what is ignored: the very
arrays that the pairs datasets give. The photo is written last: where it is, its labels are. It
carries the date of the pair, so that a pair replaced since, be it by an older file, is seen.

Shape shorthand in this module: H, W: height and width of one half.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.datasets.listing import sub_splits
from pspnet_plugin.datasets.pair_backends import SIDES, halves, read_pair
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.utils.jobs import same_time, write_atomic


@dataclass(frozen=True)
class Job:
    """A pair and what is made of it."""

    pair: Path
    photo: Path
    labels: Path

    def done(self) -> bool:
        """Whether both are there and the photo carries the date of the pair.

        Newer than the pair would not do: an older file copied over it with its date would count
        as done, and one dated in the future never would.
        """
        try:
            return self.labels.exists() and same_time(
                self.photo.stat().st_mtime_ns, self.pair.stat().st_mtime_ns
            )
        except FileNotFoundError:
            return False


def split_pair(job: Job, *, decoder: LabelDecoder, photo_side: str) -> str | None:
    """Writes photo and labels of a pair, or neither.

    Returns:
        What is wrong with the pair; None if it is done.

    Raises:
        OSError: a file cannot be written.
    """
    job.photo.unlink(missing_ok=True)  # without it, whatever stops this run, the pair is not done
    try:
        date = job.pair.stat().st_mtime_ns  # before it is read: a change meanwhile is redone
        photo, labels = read_halves(job.pair, decoder=decoder, photo_side=photo_side)
    except (OSError, ValueError) as error:
        job.labels.unlink(missing_ok=True)
        return str(error)
    write_atomic(job.labels, cv2.imencode('.png', labels)[1].tobytes())
    try:
        write_atomic(job.photo, cv2.imencode('.png', photo)[1].tobytes(), mtime_ns=date)
    except OSError:
        job.labels.unlink(missing_ok=True)
        raise
    return None


def read_halves(
    path: Path, *, decoder: LabelDecoder, photo_side: str
) -> tuple[np.ndarray, np.ndarray]:
    """Photo, (H, W, 3) uint8 BGR, and class indices, (H, W) uint8, of a pair.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no whole picture, of odd width, or has no label half.
    """
    photo, colors = halves(read_pair(str(path)), photo_side)
    try:
        return photo, decoder.decode(colors)
    except ValueError as error:
        other_side = SIDES[1 - SIDES.index(photo_side)]
        hint = 'check --palette, or that this is a pair; --min-explained 0 takes it as it is'
        if decoder.is_label_image(photo):
            hint = f'the halves look swapped, which --photo-side {other_side} is for'
        raise ValueError(f'{path}: no labels in its {other_side} half: {error}; {hint}') from None


def find_jobs(pairs: Path, out: Path) -> list[Job]:
    """All pairs of all splits, in the order of their names.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no splits, or ``out``, or two pairs would become one file.
    """
    if not pairs.is_dir():
        raise FileNotFoundError(f'{pairs}: no such folder; give the one that holds train and val')
    if out.resolve().is_relative_to(pairs.resolve()):
        raise ValueError(f'{out} lies in the folder of the pairs; give another OUT')
    jobs: dict[Path, Job] = {}
    for split in sub_splits(pairs):
        for name in split.pairs:
            file, target = split.folder / name, Path(split.name, name).with_suffix('.png')
            job = Job(file, out / 'img_dir' / target, out / 'ann_dir' / target)
            if target in jobs:
                raise ValueError(
                    f'{jobs[target].pair} and {file} would both become {job.photo}; rename one'
                )
            jobs[target] = job
    if not jobs:
        raise ValueError(
            f'{pairs} has no sub-folder with pairs; expected e.g. {pairs / "train"}/1.jpg'
        )
    return list(jobs.values())
