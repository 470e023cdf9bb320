"""Pairs made from photos and label maps: the photo in the left half, coloured labels in the right.

Shape shorthand in this module: H, W: height and width of one half.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from pspnet_plugin.toolkit.conversion.conversion_run import Job, run_conversion
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.toolkit.conversion.label_maps import read_labels
from pspnet_plugin.toolkit.conversion.matching import MatchedPhotos
from pspnet_plugin.utils.command_line import complain
from pspnet_plugin.utils.images import Bits, orientation, read_rgb
from pspnet_plugin.utils.output_directory import METAINFO, check_free, claim, image_files
from pspnet_plugin.utils.resizing import Size, fit, resize_labels, resize_photo

MARKER = '.pairs.json'
# Which label maps are turned by the EXIF orientation of their photo: those that have the size of
# the photo as it is stored, all, or none.
TURNS = ('auto', 'always', 'never')
_WIDTH, _HEIGHT = 256, 257  # tags of a TIFF
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True)
class PairFormat:
    """Form of the pairs that are made."""

    label_format: LabelFormat
    size: Size | None  # of one half; None keeps that of the photo
    suffix: str  # '.png', lossless, or '.jpg'
    quality: int = 95  # of JPEG, 1 to 100
    max_side: int | None = None  # pixels to which the longer side of larger photos is shrunk
    bits: Bits | None = None  # of photos of 16 bits a channel
    turn: str = 'auto'  # of ``TURNS``

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
    photo = read_rgb(photo_path, bits=pair_format.bits)
    labels = read_labels(labels_path, pair_format.label_format)
    if turned := orientation_of_labels(photo_path, labels_path, pair_format.turn)[0]:
        labels = np.asarray(Image.fromarray(labels).transpose(_TRANSPOSITIONS[turned]))
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


def orientation_of_labels(photo: Path, labels: Path, turn: str) -> tuple[int, bool]:
    """Return the EXIF orientation by which a label map is to be turned, and whether that is sure.

    0: it is upright. Both files have passed ``read_rgb`` and ``read_labels``, or fail there.
    """
    try:
        with Image.open(photo) as image:
            turned, stored = orientation(image), image.size
            if isinstance(image, TiffImageFile):  # whose size may be that of the upright image
                stored = image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
        with Image.open(labels) as image:
            own, size = orientation(image), image.size
            if own in _TRANSPOSITIONS and turn != 'never':
                image.load()  # which turns a TIFF already, in some versions
                return own if orientation(image) == own else 0, True
    except (OSError, KeyError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, True
    if turned not in _TRANSPOSITIONS or turn == 'never':
        return 0, True
    upright = stored[::-1] if turned > 4 else stored
    if turn == 'always' or size == stored != upright:
        return turned, True
    return 0, stored != upright


def report_turned(matched: MatchedPhotos, turn: str, *, tool: str) -> None:
    """Say how many label maps are turned with their photos, and of how many it is not known."""
    found = [orientation_of_labels(*files, turn) for files in matched.files.values()]
    turned, unsure = sum(o > 0 for o, _ in found), sum(not sure for _, sure in found)
    if turned:
        print(f'turned like their photos by EXIF: {turned} label maps')
    if unsure:
        complain(
            tool,
            f'{unsure} photos are turned by EXIF, and the size of their label maps does not tell '
            'whether these are. They are taken for upright; look at one, and give --turn-labels '
            'always or never',
        )


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
    for name, default in dict(max_side=None, bits=None, turn='auto').items():
        if (value := getattr(pair_format, name)) != default:
            made_by[name] = value
    made_by['metainfo'] = metainfo
    foreign = [*out.glob(METAINFO), *image_files(out)]
    check_free(out, marker=MARKER, made_by=made_by, foreign=foreign)
    claim(out, marker=MARKER, made_by=made_by, metainfo=metainfo)
    jobs = [Job(files, (out / f'{name}{suffix}',)) for name, files in matched.files.items()]
    make = partial(make_pair, pair_format=pair_format)
    status = run_conversion(jobs, make, folder=out, workers=workers, tool=tool)
    if matched.unused_maps:
        print(f'skipped label maps without a photo: {matched.unused_maps}')
    kept_out = [n for n in matched.unmatched if matched.keeps_splits and n.startswith('test/')]
    missing = [name for name in matched.unmatched if name not in kept_out]
    if kept_out:
        print(f'test photos without a label map: {len(kept_out)}')
    if missing:
        shown = ', '.join(missing[:10]) + (', ...' if missing[10:] else '')
        complain(tool, f'skipped photos without a label map: {len(missing)}: {shown}. Add theirs')
    return 1 if missing else status
