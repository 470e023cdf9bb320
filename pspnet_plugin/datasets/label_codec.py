"""Colours of a label picture to class indices.

A label half is a colour-coded map that was shrunk with interpolation and JPEG-coded, so few of its
pixels hold an exact palette colour. The rule here: the nearest known colour (Euclidean distance in
RGB, levels of 0..255) within ``max_distance``; void colours compete like classes and end, as does
everything farther off, as 255.

Shape shorthand in this module: H, W: picture height and width; K: number of known colours.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from numbers import Real

import cv2
import numpy as np

IGNORE = 255
# Flat areas of JPEG-coded label pictures stay within about this distance of their colour.
FLAT_NOISE = 12

Color = tuple[int, int, int]


class LabelCodec:
    """Decodes the label half of pairs by one palette.

    Args:
        palette: RGB of each class; the position is the class index.
        void_palette: RGB of colours that are known and belong to no class.
        max_distance: A pixel farther than this from every known colour becomes 255. ``None`` gives
            each pixel its nearest colour, however far.
        min_explained: Share of the pixels, 0 to 1, that must lie within 12 of a known colour for a
            picture to count as a label picture at all. 0 accepts anything.

    Raises:
        ValueError: a colour is no triple of 0..255 or stands twice, or there are more than 255.
    """

    def __init__(
        self,
        palette: Sequence[Sequence[int]],
        *,
        void_palette: Sequence[Sequence[int]] = (),
        max_distance: float | None = 40,
        min_explained: float = 0.5,
    ) -> None:
        self.palette = check_colors(palette, name='palette')
        self.void_palette = check_colors(void_palette, name='void_palette')
        known = self.palette + self.void_palette
        if len(known) > IGNORE:
            raise ValueError(
                f'{len(known)} colours (classes and void): at most {IGNORE} fit into 8-bit maps'
            )
        if len(set(known)) < len(known):
            twice = sorted({color for color in known if known.count(color) > 1})
            raise ValueError(f'palette and void_palette name a colour twice: {twice}')
        if max_distance is not None and not (_is_number(max_distance) and max_distance >= 0):
            raise ValueError(f'max_distance={max_distance!r}: give a number >= 0, or None')
        if not (_is_number(min_explained) and 0 <= min_explained <= 1):
            raise ValueError(f'min_explained={min_explained!r}: give a share from 0 to 1')
        self.max_distance = max_distance
        self.min_explained = min_explained

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Two lookup tables, each (2**24,), indexed by ``R << 16 | G << 8 | B``.

        The first, uint8, gives the class index or 255; the second, bool, says whether a colour
        lies within 12 of a known one. Built once a process for each palette; forked workers
        share them.
        """
        return _build_tables(self.palette, self.void_palette, self.max_distance)

    def decode(self, bgr: np.ndarray) -> np.ndarray:
        """Class indices of a label picture.

        Args:
            bgr: (H, W, 3) uint8, as OpenCV decodes it.

        Returns:
            (H, W) uint8: class indices; 255 for void, and for colours that no entry explains.

        Raises:
            ValueError: the picture is no label picture in this palette.
        """
        packed = _pack(bgr)
        share = self._explained_share(packed)
        if share < self.min_explained:
            raise ValueError(
                f'only {share:.0%} of its pixels lie within {FLAT_NOISE} of a known colour, where '
                f'{self.min_explained:.0%} are expected of a label picture'
            )
        return self.tables[0].take(packed)

    def explains(self, bgr: np.ndarray) -> bool:
        """Whether enough pixels of an (H, W, 3) picture lie near known colours."""
        return self._explained_share(_pack(bgr)) >= self.min_explained

    def _explained_share(self, packed: np.ndarray) -> float:
        """Share of the pixels near a known colour, over a grid of at least 32 x 32 of them."""
        step = max(1, min(packed.shape) // 32)
        sample = self.tables[1].take(packed[::step, ::step])
        return np.count_nonzero(sample) / sample.size


def _pack(bgr: np.ndarray) -> np.ndarray:
    """(H, W) numbers 0xRRGGBB: four bytes a pixel read as one, with no arithmetic a channel."""
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA).view('<u4')[..., 0] & 0xFFFFFF


def check_colors(colors: Sequence[Sequence[int]], *, name: str) -> tuple[Color, ...]:
    """The colours as tuples of ints; ``ValueError`` names the first that is no RGB triple."""
    checked = []
    for position, color in enumerate(colors):
        values = tuple(color) if isinstance(color, Sequence | np.ndarray) else (color,)
        if len(values) != 3 or not all(
            _is_number(v) and v == int(v) and 0 <= v <= 255 for v in values
        ):
            raise ValueError(
                f'{name}[{position}] = {color!r}: expected three levels of 0..255, RGB'
            )
        checked.append(tuple(int(v) for v in values))
    return tuple(checked)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


@lru_cache(maxsize=8)
def _build_tables(
    palette: tuple[Color, ...], void_palette: tuple[Color, ...], max_distance: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest known colour of all 2**24 colours, exactly; ties go to the first named."""
    known = np.array(palette + void_palette, dtype=np.int32).reshape(-1, 3)  # (K, 3)
    values = np.array([*range(len(palette)), *[IGNORE] * len(void_palette), IGNORE], np.uint8)
    level = np.arange(256, dtype=np.int32)
    squares = (level - known[..., None]) ** 2  # (K, 3, 256)
    # One number holds the squared distance and, in its low byte, which colour: a minimum over the
    # colours then finds both, and red only adds a constant to a green-blue plane.
    planes = (squares[:, 1, :, None] + squares[:, 2, None, :] << 8) + np.arange(
        len(known), dtype=np.int32
    )[:, None, None]  # (K, 256, 256)
    limit = np.inf if max_distance is None else max_distance**2
    labels = np.empty((256, 256, 256), dtype=np.uint8)
    near = np.empty((256, 256, 256), dtype=bool)
    candidate = np.empty((256, 256), dtype=np.int32)
    for red in range(256):
        best = np.full((256, 256), np.iinfo(np.int32).max, dtype=np.int32)
        for plane, square in zip(planes, squares[:, 0, red], strict=True):
            np.minimum(best, np.add(plane, square << 8, out=candidate), out=best)
        distance = best >> 8
        labels[red] = values[np.where(distance <= limit, best & 0xFF, len(known))]
        near[red] = distance <= FLAT_NOISE**2
    for table in (labels, near):
        table.setflags(write=False)  # shared by every codec of this palette
    return labels.reshape(-1), near.reshape(-1)
