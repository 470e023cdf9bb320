"""Sets of classes at every pixel of a map, and what lies around: each class is a bit of a number.

Shape shorthand in this module: H, W: height and width of the map; K: known classes; N: pixels.
"""

import cv2
import numpy as np

from pspnet_plugin.labels.palettes import IGNORE_INDEX

REACH = 2  # pixels: as far as shrinking and chroma subsampling carry a colour
_BLOCK = 8  # pixels: the wider surroundings are three blocks of this side
_MOST = 64  # bits of a number: the most frequent classes of a map get one


class ClassBits:
    """Sets of classes as the bits of one number a pixel.

    Args:
        labels: (H, W) uint8, classes; 255 is none.
        count: K. Of more than 64 classes, the 64 most frequent ones in ``labels`` get a bit. Bits
            go from the rarest class up.
    """

    def __init__(self, labels: np.ndarray, count: int) -> None:
        sample = labels if count > _MOST else labels[::4, ::4]
        pixels = np.bincount(sample.reshape(-1), minlength=256)[:count]
        present = np.argsort(-pixels, kind='stable')[:_MOST][::-1]
        dtype = np.uint32 if len(present) <= 32 else np.uint64
        self.by_exponent = np.full(256, IGNORE_INDEX, np.uint8)
        self.by_exponent[127 : 127 + len(present)] = present  # bit k has exponent 127 + k
        self.table = np.zeros(256, dtype)
        self.table[present] = np.left_shift(dtype(1), np.arange(len(present), dtype=dtype))

    def of(self, colors: np.ndarray) -> np.ndarray:
        """The bit of each colour; 0 for 255 and for colours that have none."""
        if colors.ndim == 2 and self.table.dtype == np.uint32:  # LUT: several times as fast
            return cv2.LUT(colors, self.table.view(np.int32)).view(np.uint32)
        return self.table.take(colors)

    def members(self, sets: np.ndarray, *, most: int) -> list[np.ndarray]:
        """The rarest colours of each of (N,) sets, (N,) each, rarest first; 255 for none."""
        slots, rest = [], sets
        while len(slots) < most and rest.any():
            lowest = rest & np.negative(rest)
            # A power of two as float32 has its logarithm in the exponent; zero has zero there.
            exponent = (lowest.astype(np.float32).view(np.uint32) >> 23).astype(np.uint8)
            slots.append(cv2.LUT(exponent[None], self.by_exponent)[0])
            rest = rest ^ lowest
        return slots


class ClassSets:
    """The set of classes that are sure at each pixel, and its unions over surroundings.

    Kept flat and with a margin of zeros, so that a window is a union of shifted copies.

    Args:
        bits: (H, W), see ``ClassBits``.
    """

    def __init__(self, bits: np.ndarray) -> None:
        self.shape = bits.shape
        self.pitch = bits.shape[1] + 2 * REACH
        margin = np.zeros([side + 2 * REACH for side in bits.shape], bits.dtype)
        margin[REACH:-REACH, REACH:-REACH] = bits
        self.bits = margin.reshape(-1)

    def places(self, where: np.ndarray) -> np.ndarray:
        """The positions in ``bits`` of flat indices into the picture, (N,)."""
        return where + where // self.shape[1] * (2 * REACH) + REACH * (self.pitch + 1)

    def near(self, at: np.ndarray) -> np.ndarray:
        """The unions over the windows of ``REACH`` pixels around positions, (N,)."""
        union, width = self.bits, 2 * REACH + 1
        for pitch in (1, self.pitch):
            have = 1
            while have < width:
                step = min(have, width - have)
                union = union[: -step * pitch] | union[step * pitch :]
                have += step
        return union.take(at - REACH * (self.pitch + 1))

    def wider(self, at: np.ndarray) -> np.ndarray:
        """The unions over the block of each position and the eight around it, (N,).

        Made from every second pixel of every second row: classes are sure in squares of 2 x 2.
        """
        sample = self.bits.reshape(-1, self.pitch)[::2, ::2]
        rows, columns = (-(-side // (_BLOCK // 2)) for side in sample.shape)
        grid = np.zeros((rows * _BLOCK // 2, columns * _BLOCK // 2), sample.dtype)
        grid[: sample.shape[0], : sample.shape[1]] = sample
        while len(grid) > rows:  # halves, many times faster than a reduction over short rows
            grid = grid[::2] | grid[1::2]
            grid = grid[:, ::2] | grid[:, 1::2]
        around = np.zeros((rows + 2, columns + 2), grid.dtype)
        for y in range(3):
            for x in range(3):
                around[y : y + rows, x : x + columns] |= grid
        y = at // self.pitch
        x = at - y * self.pitch
        return around.reshape(-1).take((y // _BLOCK + 1) * (columns + 2) + x // _BLOCK + 1)
