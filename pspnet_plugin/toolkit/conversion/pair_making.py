"""Pairs made from photos and label maps: the photo in the left half, coloured labels in the right.

Shape shorthand in this module: H, W: height and width of one half.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.toolkit.conversion.conversion_run import Job, run_conversion
from pspnet_plugin.toolkit.conversion.label_maps import LabelFormat, read_labels
from pspnet_plugin.toolkit.conversion.matching import MatchedPhotos
from pspnet_plugin.utils.command_line import complain
from pspnet_plugin.utils.images import read_rgb
from pspnet_plugin.utils.output_directory import METAINFO, check_free, claim, image_files
from pspnet_plugin.utils.resizing import Size, fit, resize_labels, resize_photo

MARKER = '.pairs.json'


@dataclass(frozen=True)
class PairFormat:
    """Form of the pairs that are made."""

    label_format: LabelFormat
    size: Size | None  # of one half; None keeps that of the photo
    suffix: str  # '.png', lossless, or '.jpg'
    quality: int  # of JPEG, 1 to 100
    max_side: int | None  # pixels to which the longer side of larger photos is shrunk

    def encode(self, photo: np.ndarray, labels: np.ndarray) -> bytes:
        """Encode an (H, W, 3) RGB photo and (H, W) positions in the list of colours as a file."""
        size = self.size
        if self.max_side and max(photo.shape[:2]) > self.max_side:
            size = fit(photo.shape[:2], self.max_side)
        if size:
            photo, labels = resize_photo(photo, size), resize_labels(labels, size)
        colors = np.array(self.label_format.colors, np.uint8)[labels]
        pair = cv2.cvtColor(np.hstack([photo, colors]), cv2.COLOR_RGB2BGR)  # (H, 2W, 3)
        return encode_pair(pair, suffix=self.suffix, quality=self.quality)


def jpeg_options(quality: int) -> list[int]:
    """Return options by which OpenCV writes JPEGs like Kaggle's pairs.

    Chroma has half the resolution, which blurs the colours of labels at edges.
    """
    return [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip


def encode_pair(pair: np.ndarray, *, suffix: str, quality: int) -> bytes:
    """Encode a pair, (H, 2W, 3) uint8 BGR; ``ValueError`` if it is too large for the format."""
    options = jpeg_options(quality) if suffix == '.jpg' else []
    try:
        done, content = cv2.imencode(suffix, pair, options)
    except cv2.error:  # OpenCV 4 raises, OpenCV 5 returns False
        done = False
    if not done:
        height, width = pair.shape[:2]
        raise ValueError(
            f'a pair of {width} x {height} pixels does not fit into a {suffix} file. Give a '
            'smaller --size'
        )
    return content.tobytes()


def make_pair(job: Job, *, pair_format: PairFormat) -> list[bytes]:
    """Return the file of a pair from its photo and its label map."""
    photo_path, labels_path = job.sources
    photo, labels = read_rgb(photo_path), read_labels(labels_path, pair_format.label_format)
    if photo.shape[:2] != labels.shape:
        sizes = ['{1} x {0}'.format(*array.shape) for array in (photo, labels)]
        raise ValueError(
            f'{photo_path} has {sizes[0]} pixels, its label map {labels_path} has {sizes[1]}. Give '
            'the label map of this very photo'
        )
    try:
        return [pair_format.encode(photo, labels)]
    except ValueError as error:
        raise ValueError(f'{photo_path}: {error}') from None


def make_pairs(
    out: Path,
    matched: MatchedPhotos,
    pair_format: PairFormat,
    *,
    made_from: dict,
    metainfo: dict,
    workers: int,
    tool: str,
) -> int:
    """Make the pairs that are missing or whose files have changed; see ``run_conversion``.

    ``made_from`` names the sources; a run with others cannot resume this one.

    ``OSError``: ``out`` cannot be made. ``ValueError``: it holds other files.
    """
    suffix = pair_format.suffix
    size = pair_format.size and pair_format.size[::-1]  # (width, height), as --size
    made_by = {**made_from, 'size': size, 'format': suffix[1:], 'quality': pair_format.quality}
    if pair_format.max_side:
        made_by['max_side'] = pair_format.max_side
    made_by['metainfo'] = metainfo
    foreign = [*out.glob(METAINFO), *image_files(out)]
    check_free(out, marker=MARKER, made_by=made_by, foreign=foreign)
    claim(out, marker=MARKER, made_by=made_by, metainfo=metainfo)
    jobs = [Job(files, (out / f'{name}{suffix}',)) for name, files in matched.files.items()]
    make = partial(make_pair, pair_format=pair_format)
    status = run_conversion(jobs, make, folder=out, workers=workers, tool=tool)
    if matched.unused_maps:
        print(f'skipped label maps without a photo: {matched.unused_maps}')
    if matched.unmatched:
        shown = ', '.join(matched.unmatched[:10]) + (', ...' if matched.unmatched[10:] else '')
        count = len(matched.unmatched)
        complain(tool, f'skipped photos without a label map: {count}: {shown}. Add their maps')
    return 1 if matched.unmatched else status
