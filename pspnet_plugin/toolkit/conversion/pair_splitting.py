"""Pairs split into photos and index maps, each a PNG file.

``PAIRS/SPLIT/NAME.jpg`` becomes ``OUT/img_dir/SPLIT/NAME.png``, the photo, and
``OUT/ann_dir/SPLIT/NAME.png``, one channel of class indices, 255 to ignore: the same arrays as the
pairs datasets give.
"""

from pathlib import Path

import cv2

from pspnet_plugin.datasets.listing import sub_splits
from pspnet_plugin.datasets.pair_backends import SIDES, halves, read_pair
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.toolkit.conversion.conversion_run import Job


def split_pair(job: Job, *, decoder: LabelDecoder, photo_side: str) -> list[bytes]:
    """Return the files of a pair's labels and photo."""
    (path,) = job.sources
    photo, colors = halves(read_pair(str(path)), photo_side)
    try:
        labels = decoder.decode(colors)
    except ValueError as error:
        other_side = SIDES[1 - SIDES.index(photo_side)]
        hint = 'Check --palette, or that this is a pair; --min-explained 0 accepts it as it is'
        if decoder.is_label_image(photo):
            hint = f'The halves look swapped; try --photo-side {other_side}'
        raise ValueError(f'{path}: no labels in its {other_side} half: {error}. {hint}') from None
    return [cv2.imencode('.png', array)[1].tobytes() for array in (labels, photo)]


def find_jobs(pairs: Path, out: Path) -> list[Job]:
    """List all pairs of all splits, in natural order.

    ``FileNotFoundError``: ``pairs`` is no directory. ``ValueError``: it holds no splits, or holds
    ``out``, or two pairs would become one file.
    """
    if not pairs.is_dir():
        raise FileNotFoundError(f'{pairs}: no such directory. Give the one with train and val')
    if out.resolve().is_relative_to(pairs.resolve()):
        raise ValueError(f'{out} lies in the directory of the pairs. Give another OUT')
    jobs: dict[Path, Job] = {}
    for split in sub_splits(pairs):
        for name in split.pairs:
            file, target = split.folder / name, Path(split.name, name).with_suffix('.png')
            labels, photo = out / 'ann_dir' / target, out / 'img_dir' / target
            if other := jobs.get(target):
                raise ValueError(
                    f'{other.sources[0]} and {file} would both become {photo}. Rename one of them'
                )
            jobs[target] = Job((file,), (labels, photo))
    if not jobs:
        raise ValueError(
            f'{pairs} has no sub-directory with pairs. Expected e.g. {pairs / "train"}/1.jpg'
        )
    return list(jobs.values())
