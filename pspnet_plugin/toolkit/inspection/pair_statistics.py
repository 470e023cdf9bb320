"""Statistics of one pair, in a few kilobytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.datasets.pair_backends import decode_pair, halves
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.toolkit.inspection.duplicates import Fingerprint, fingerprint
from pspnet_plugin.toolkit.inspection.orientation import find_turn
from pspnet_plugin.utils.resizing import Size

FLAT = 10  # levels that a channel spans at most over 5 x 5 pixels of a flat area
CONSTANT = 2  # the same inside a label's area, where JPEG keeps a colour constant
MOST_COLORS = 64  # bins kept for an image, the most frequent ones


@dataclass(frozen=True)
class DecodingSettings:
    """Classes of a set of pairs, and how the pairs are decoded."""

    classes: Sequence[str]
    decoder: LabelDecoder  # of all known colours: those of the classes, then void as classes
    photo_side: str


def _zeros(*shape: int) -> np.ndarray:
    return field(default_factory=lambda: np.zeros(shape, np.int64))


@dataclass
class PairStatistics:
    """Statistics of one file; of one that is no pair only ``unreadable``, the reason, is set."""

    unreadable: str = ''
    size: Size = (0, 0)  # of one half
    fit: str = 'fits'  # or 'swapped': only the photo half is in the palette, 'foreign': neither
    photo: Fingerprint | None = None
    counts: np.ndarray = _zeros(256)  # pixels of each known colour, unexplained ones at 255
    unsure: np.ndarray = _zeros(256)  # the same for those pixels that are not sure
    turned: str = ''  # how labels fit the photo better, see ``find_turn``
    invisible: int = 0  # pixels that alpha erases
    constant: float = 0.0  # share of the colour half that is constant, as labelled areas are
    # Shares of sure pixels in the eighth of the photo half and of the colour half at the middle.
    seam: tuple[float, float] = (0.0, 1.0)
    # The B most frequent colours of flat areas: bin, pixels, sums of their R, G and B.
    flat: np.ndarray = _zeros(0, 5)
    unknown: np.ndarray = _zeros(0, 5)  # the same for unsure pixels, which are no blends there


def measure_pair(path: str, settings: DecodingSettings) -> PairStatistics:
    """Read a file and return its statistics; one that is no pair raises nothing."""
    try:
        content = Path(path).read_bytes()
        pair = decode_pair(content, path)
    except OSError as error:
        return PairStatistics(error.strerror or str(error))
    except ValueError as error:
        return PairStatistics(str(error).removeprefix(f'{path}: ').partition('. ')[0])
    photo, colors = halves(pair, settings.photo_side)
    decoder = settings.decoder
    height, width = colors.shape[:2]
    found = PairStatistics(size=(height, width), photo=fingerprint(content, photo))
    if not decoder.is_label_image(colors):
        found.fit = 'swapped' if decoder.is_label_image(photo) else 'foreign'
    if found.fit == 'swapped':
        return found  # its colours are those of a photo
    bgr = np.ascontiguousarray(colors[..., :3])
    found.invisible = int((colors[..., 3] == 0).sum()) if colors.shape[2] == 4 else 0
    spans = cv2.morphologyEx(bgr, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    span = np.maximum.reduce(cv2.split(spans))
    flat = span <= FLAT
    found.constant = float((span <= CONSTANT).mean())
    found.flat = _count_colors(bgr[flat])
    sure = decoder.sure(colors)
    found.unknown = _count_colors(bgr[flat & ~sure])
    if found.fit == 'fits':
        labels = decoder.decode(colors)
        found.counts = np.bincount(labels.reshape(-1), minlength=256)
        found.turned = find_turn(photo, labels)
        found.unsure = np.bincount(labels[~sure], minlength=256)
        eighth = -(-width // 8)
        first, last = np.s_[:, :eighth], np.s_[:, -eighth:]
        at_photo, at_colors = (last, first) if settings.photo_side == 'left' else (first, last)
        found.seam = (float(decoder.sure(photo)[at_photo].mean()), float(sure[at_colors].mean()))
    return found


def _count_colors(pixels: np.ndarray) -> np.ndarray:
    """Count (N, 3) BGR pixels in bins of 16 levels; see ``PairStatistics.flat``."""
    blue, green, red = pixels.T.astype(np.int64)
    bins = (red >> 4 << 8) | (green >> 4 << 4) | blue >> 4
    rows = [np.bincount(bins, minlength=4096)]
    rows += [np.bincount(bins, weights=level, minlength=4096) for level in (red, green, blue)]
    most = np.argsort(-rows[0], kind='stable')[:MOST_COLORS]
    most = most[rows[0][most] > 0]
    return np.stack([most, *(row[most] for row in rows)], axis=1).astype(np.int64)
