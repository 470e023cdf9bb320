"""Statistics of one pair, in a few kilobytes.

Shape shorthand in this module: H, W: height and width of one half; K: number of known colours;
B: colour bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.datasets.pair_backends import decode_pair, halves
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.toolkit.inspection.duplicates import Fingerprint, fingerprint

FLAT = 10  # levels that a channel spans at most over 5 x 5 pixels of a flat area
CONSTANT = 2  # the same inside a label's area, where JPEG keeps a colour constant
MOST_COLORS = 64  # bins kept for an image, the most frequent ones


@dataclass(frozen=True)
class DecodingSettings:
    """Classes of a set of pairs, and how the pairs are decoded.

    Args:
        classes: Names of the classes.
        decoder: Decoder of the K known colours: those of ``classes``, then void as classes of
            their own.
        photo_side: ``'left'`` or ``'right'``.
    """

    classes: Sequence[str]
    decoder: LabelDecoder
    photo_side: str


def _zeros(*shape: int) -> np.ndarray:
    return field(default_factory=lambda: np.zeros(shape, np.int64))


@dataclass
class PairStatistics:
    """Statistics of one file.

    Args:
        unreadable: Reason why it is no pair; None if it is one, and only then the rest is set.
        size: Width and height of one half.
        fit: ``'fits'``, ``'swapped'`` (the photo half is in the palette, the other is not) or
            ``'foreign'`` (neither is).
        photo: Fingerprint of the photo.
        counts: (256,) pixels of each known colour, unexplained ones at 255; zero unless it fits.
        unsure: The same for those pixels that are not sure.
        constant: Share of the colour half that is constant, as the inside of labelled areas is.
        seam: Share of sure pixels in the eighth of the photo half and of the colour half that
            touches the other one.
        flat: (B, 5) the most frequent colours of flat areas in the colour half: bin, pixels, and
            the sums of their R, G and B.
        unknown: The same for those pixels that are not sure: no blends, because the areas are flat.
    """

    unreadable: str | None = None
    size: tuple[int, int] = (0, 0)
    fit: str = 'fits'
    photo: Fingerprint | None = None
    counts: np.ndarray = _zeros(256)
    unsure: np.ndarray = _zeros(256)
    constant: float = 0.0
    seam: tuple[float, float] = (0.0, 1.0)
    flat: np.ndarray = _zeros(0, 5)
    unknown: np.ndarray = _zeros(0, 5)


def measure_pair(path: str, settings: DecodingSettings) -> PairStatistics:
    """Read a file and return its statistics; one that is no pair raises nothing."""
    try:
        content = Path(path).read_bytes()
        pair = decode_pair(content, path)
    except OSError as error:
        return PairStatistics(unreadable=error.strerror or str(error))
    except ValueError as error:
        reason = str(error).removeprefix(f'{path}: ').partition('. ')[0]
        return PairStatistics(unreadable=reason)
    photo, colors = halves(pair, settings.photo_side)
    decoder = settings.decoder
    height, width = colors.shape[:2]
    found = PairStatistics(size=(width, height), photo=fingerprint(content, photo))
    if not decoder.is_label_image(colors):
        found.fit = 'swapped' if decoder.is_label_image(photo) else 'foreign'
    if found.fit == 'swapped':
        return found  # its colours are those of a photo
    spans = cv2.morphologyEx(colors, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    span = np.maximum.reduce(cv2.split(spans))
    flat = span <= FLAT
    found.constant = float((span <= CONSTANT).mean())
    found.flat = _count_colors(colors[flat])
    sure = decoder.sure(colors)
    found.unknown = _count_colors(colors[flat & ~sure])
    if found.fit == 'fits':
        labels = decoder.decode(colors)
        found.counts = np.bincount(labels.reshape(-1), minlength=256)
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
