"""A look at one pair: all that the findings about a set need to know of it, in a few kilobytes.

Shape shorthand in this module: H, W: height and width of one half; K: number of known colours
(those of the classes, then void); B: colour bins.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pspnet_plugin.datasets.pair_backends import decode_pair, halves
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import Color

THUMB = 16  # pixels a side
DETAIL = 2 * THUMB
LEAST_DETAIL = 0.1  # levels; less does not outlive JPEG coding
FLAT = 10  # levels that a channel spans at most over 5 x 5 pixels of a flat area
LEVEL = 2  # the same in the middle of a label's area, where JPEG keeps a colour constant
MOST_COLORS = 64  # bins a picture reports, the most frequent ones


@dataclass(frozen=True)
class Reading:
    """How a set is read.

    Args:
        palette: RGB of each class.
        void_palette: RGB of colours that are known and belong to no class.
        photo_side: ``'left'`` or ``'right'``.
        rule: Of ``LabelDecoder``.
        max_distance: Of ``LabelDecoder``.
        min_confidence: Of ``LabelDecoder``.
        min_explained: Of ``LabelDecoder``.

    Raises:
        ValueError: ``LabelDecoder`` cannot use them.
    """

    palette: tuple[Color, ...]
    void_palette: tuple[Color, ...]
    photo_side: str
    rule: str
    max_distance: float | None
    min_confidence: float = 0.8
    min_explained: float = 0.5

    def __post_init__(self) -> None:
        LabelDecoder(
            self.palette,
            void_palette=self.void_palette,
            rule=self.rule,
            max_distance=self.max_distance,
            min_confidence=self.min_confidence,
            min_explained=self.min_explained,
        )

    @property
    def known(self) -> tuple[Color, ...]:
        """The K known colours: of classes, then void."""
        return self.palette + self.void_palette

    def halves(self, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Photo and colour half of an (H, 2W, 3) picture."""
        return halves(pair, self.photo_side)

    def positions(self, colors: np.ndarray) -> np.ndarray:
        """(H, W) uint8 positions in ``known`` of a colour half, 255 where nothing explains it."""
        return self._codec.decode(colors)

    def sure(self, colors: np.ndarray) -> np.ndarray:
        """(H, W) bool: pixels that hold a known colour up to coding noise."""
        return self._codec.sure(colors)

    def explains(self, half: np.ndarray) -> bool:
        """Whether a dataset would take a half for a label picture."""
        decoder = LabelDecoder(
            self.known, max_distance=self.max_distance, min_explained=self.min_explained
        )
        return decoder.is_label_image(half)

    @property
    def _codec(self) -> LabelDecoder:
        return _codec(self.known, self.rule, self.max_distance, self.min_confidence)


@lru_cache(maxsize=4)
def _codec(
    known: tuple[Color, ...], rule: str, max_distance: float | None, min_confidence: float
) -> LabelDecoder:
    """A decoder to which void colours are classes of their own, so that they can be told apart."""
    return LabelDecoder(
        known, rule=rule, max_distance=max_distance, min_confidence=min_confidence, min_explained=0
    )


@dataclass
class Look:
    """What one file holds.

    Args:
        unreadable: Why it is no pair; None where it is one, and only then the rest is filled in.
        size: Width and height of one half.
        fit: ``'fits'``, ``'swapped'`` (the photo half is in the palette, the other is not) or
            ``'foreign'`` (neither is).
        digest: Of the file's bytes.
        thumb: (256,) uint8: the photo half in grey, shrunk to 16 x 16.
        detail: (784,) float16 of length 1: the inner 28 x 28 of a thumbnail of 32 x 32, without
            what is smooth, in local contrast; zero where there is none.
        counts: (256,) pixels of each known colour, unexplained ones at 255; zero unless it fits.
        unsure: The same of those pixels that are not sure.
        level: Share of the colour half that is constant, as the middle of labelled areas is.
        seam: Share of sure pixels in the eighth of the photo half and of the colour half that
            touches the other one.
        flat: (B, 5) the most frequent colours of flat areas in the colour half: bin, pixels, and
            the sums of their R, G and B.
        unknown: The same of those pixels that are not sure: no blends, as the areas are flat.
    """

    unreadable: str | None = None
    size: tuple[int, int] = (0, 0)
    fit: str = 'fits'
    digest: bytes = b''
    thumb: np.ndarray = field(default_factory=lambda: np.zeros(THUMB**2, np.uint8))
    detail: np.ndarray = field(default_factory=lambda: np.zeros((DETAIL - 4) ** 2, np.float16))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    unsure: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    level: float = 0.0
    seam: tuple[float, float] = (0.0, 1.0)
    flat: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.int64))
    unknown: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.int64))


def look_at(path: str, reading: Reading) -> Look:
    """Reads a pair and says what it holds; a file that is none is no error here."""
    try:
        content = Path(path).read_bytes()
        pair = decode_pair(content, path)
    except OSError as error:
        return Look(unreadable=error.strerror or str(error))
    except ValueError as error:
        return Look(unreadable=_why_unreadable(path, content, str(error)))
    photo, colors = reading.halves(pair)
    height, width = colors.shape[:2]
    gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    look = Look(
        size=(width, height),
        digest=hashlib.blake2b(content, digest_size=16).digest(),
        thumb=cv2.resize(gray, (THUMB, THUMB), interpolation=cv2.INTER_AREA).reshape(-1),
        detail=_detail(gray),
    )
    if not reading.explains(colors):
        look.fit = 'swapped' if reading.explains(photo) else 'foreign'
    if look.fit == 'swapped':
        return look  # its colours are those of a photo
    spans = cv2.morphologyEx(colors, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    span = np.maximum.reduce(cv2.split(spans))
    flat = span <= FLAT
    look.level = float((span <= LEVEL).mean())
    look.flat = _count_colors(colors[flat])
    sure = reading.sure(colors)
    look.unknown = _count_colors(colors[flat & ~sure])
    if look.fit == 'fits':
        positions = reading.positions(colors)
        look.counts = np.bincount(positions.reshape(-1), minlength=256)
        look.unsure = np.bincount(positions[~sure], minlength=256)
        eighth = -(-width // 8)
        first, last = np.s_[:, :eighth], np.s_[:, -eighth:]
        at_seam = (last, first) if reading.photo_side == 'left' else (first, last)
        look.seam = tuple(
            float(half[part].mean())
            for half, part in zip((reading.sure(photo), sure), at_seam, strict=True)
        )
    return look


def _detail(gray: np.ndarray) -> np.ndarray:
    """See ``Look.detail``."""
    fine = cv2.resize(gray.astype(np.float32), (DETAIL, DETAIL), interpolation=cv2.INTER_AREA)
    # A shared horizon or shading would make different photos alike: slopes go by the difference,
    # strong edges by the division, and what the border makes of slopes by the crop.
    fine -= cv2.GaussianBlur(fine, (5, 5), 1)
    local = np.sqrt(cv2.GaussianBlur(fine**2, (0, 0), 2))
    inner = np.s_[2:-2, 2:-2]
    detail = (fine / (local + LEAST_DETAIL))[inner].reshape(-1)
    if np.median(local[inner]) < LEAST_DETAIL:
        return np.zeros(detail.size, np.float16)
    return (detail / np.linalg.norm(detail)).astype(np.float16)


def _why_unreadable(path: str, content: bytes, message: str) -> str:
    if not content:
        return 'empty'
    try:
        Image.open(BytesIO(content)).close()
    except (OSError, ValueError, Image.DecompressionBombError):
        return 'no picture'
    if 'odd width' in message:
        return message.removeprefix(f'{path}: ').partition('. ')[0]
    return f'cut off or damaged ({len(content)} bytes)'


def _count_colors(pixels: np.ndarray) -> np.ndarray:
    """The most frequent colours of (N, 3) BGR pixels, binned by 16 levels; see ``Look.flat``."""
    blue, green, red = pixels.T.astype(np.int64)
    bins = (red >> 4 << 8) | (green >> 4 << 4) | blue >> 4
    rows = [np.bincount(bins, minlength=4096)]
    rows += [np.bincount(bins, weights=level, minlength=4096) for level in (red, green, blue)]
    most = np.argsort(-rows[0], kind='stable')[:MOST_COLORS]
    most = most[rows[0][most] > 0]
    return np.stack([most, *(row[most] for row in rows)], axis=1).astype(np.int64)
