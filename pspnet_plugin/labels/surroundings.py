"""Classes around pixels, and connected components of pixels.

Shape shorthand in this module: H, W: image height and width; K: known colours; N: unsure pixels;
C: connected components; T: candidate colours of a component; G: grounds, colours sure around it.
"""

import cv2
import numpy as np

from pspnet_plugin.labels.blends import UNEXPLAINED, least_energy
from pspnet_plugin.labels.palettes import IGNORE_INDEX

REACH = 2  # pixels: as far as shrinking and chroma subsampling carry a colour
_BLOCK = 8  # pixels: the wider surroundings are three blocks of this side
_MAX_BITS = 64  # of one number
_CELL = 8  # pixels: components are cut along a grid of this pitch
_CANDIDATES = 3  # the most frequent nearest colours of a component
_ALL_VOTE = 12  # pixels: in larger components every third one votes
_CLEAR = 6.0  # energy by which the best must beat the second best, and "none of these"


class ClassSets:
    """Set of sure classes at each pixel, one bit a class, and its unions over windows.

    Sets are flat, with a margin of zeros, so that a window is a union of shifted copies. Made of
    (H, W) labels, 255 where unsure; if K (``count``) exceeds 64, only the 64 most frequent colours
    get a bit.
    """

    def __init__(self, labels: np.ndarray, count: int) -> None:
        sample = labels if count > _MAX_BITS else labels[::4, ::4]
        pixels = np.bincount(sample.reshape(-1), minlength=256)[:count]
        by_frequency = np.argsort(-pixels, kind='stable')[:_MAX_BITS][::-1]  # the rarest first
        dtype = np.uint32 if len(by_frequency) <= 32 else np.uint64
        self._by_exponent = np.full(256, IGNORE_INDEX, np.uint8)
        # Bit k as float32 has the exponent 127 + k.
        self._by_exponent[127 : 127 + len(by_frequency)] = by_frequency
        self._table = np.zeros(256, dtype)
        self._table[by_frequency] = dtype(1) << np.arange(len(by_frequency), dtype=dtype)
        self._width, self._pitch = labels.shape[1], labels.shape[1] + 2 * REACH
        self._sets = np.pad(self.bits_of(labels), REACH).reshape(-1)

    def bits_of(self, colors: np.ndarray) -> np.ndarray:
        """Return the bit of each colour; 0 for 255 and for colours without a bit."""
        if colors.ndim == 2 and self._table.dtype == np.uint32:  # LUT: several times as fast
            return cv2.LUT(colors, self._table.view(np.int32)).view(np.uint32)
        return self._table.take(colors)

    def positions(self, where: np.ndarray) -> np.ndarray:
        """Convert (N,) flat indices into the image to positions ``at`` for the methods below."""
        return where + where // self._width * (2 * REACH) + REACH * (self._pitch + 1)

    def put(self, at: np.ndarray, colors: np.ndarray) -> None:
        """Make (N,) ``colors`` sure at (N,) positions."""
        self._sets[at] = self.bits_of(colors)

    def present(self) -> np.ndarray:
        """Return (256,) bool: colours that are sure at any pixel."""
        return (self._table & np.bitwise_or.reduce(self._sets)) != 0

    def near(self, at: np.ndarray) -> np.ndarray:
        """Return (N,) unions over windows of ``REACH`` pixels around positions."""
        union, width = self._sets, 2 * REACH + 1
        for pitch in (1, self._pitch):
            have = 1
            while have < width:
                step = min(have, width - have)
                union = union[: -step * pitch] | union[step * pitch :]
                have += step
        return union.take(at - REACH * (self._pitch + 1))

    def wider(self, at: np.ndarray) -> np.ndarray:
        """Return (N,) unions over the block of each position and the eight blocks around it.

        Every second pixel of every second row is enough: classes are sure in squares of 2 x 2.
        """
        sample = self._sets.reshape(-1, self._pitch)[::2, ::2]
        rows, columns = (-(-side // (_BLOCK // 2)) for side in sample.shape)
        grid = np.zeros((rows * _BLOCK // 2, columns * _BLOCK // 2), sample.dtype)
        grid[: sample.shape[0], : sample.shape[1]] = sample
        while len(grid) > rows:  # halves, many times faster than a reduction over short rows
            grid = grid[::2] | grid[1::2]
            grid = grid[:, ::2] | grid[:, 1::2]
        around = np.zeros((rows + 2, columns + 2), grid.dtype)
        for y, x in np.ndindex(3, 3):
            around[y : y + rows, x : x + columns] |= grid
        y = at // self._pitch
        x = at - y * self._pitch
        return around.reshape(-1).take((y // _BLOCK + 1) * (columns + 2) + x // _BLOCK + 1)

    def members(self, sets: np.ndarray, *, most: int) -> list[np.ndarray]:
        """List the ``most`` rarest colours of (N,) sets, (N,) each, rarest first; 255 for none."""
        members: list[np.ndarray] = []
        rest = sets
        while len(members) < most and rest.any():
            lowest = rest & np.negative(rest)
            exponent = (lowest.astype(np.float32).view(np.uint32) >> 23).astype(np.uint8)
            members.append(cv2.LUT(exponent[None], self._by_exponent)[0])
            rest = rest ^ lowest
        return members


class Components:
    """Connected components of the unsure pixels, cut along a grid of 8 x 8 pixels.

    Made of the (H, W) of the image, the (N,) flat indices of the pixels, and the known colour
    nearest to each. ``order``, (N,), puts each component in one piece; ``of``, (N,) the component
    of each pixel, and the pixels that the methods take have this order.
    """

    def __init__(self, shape: tuple[int, ...], where: np.ndarray, nearest: np.ndarray) -> None:
        mask = np.zeros(shape, np.uint8)
        mask.reshape(-1)[where] = 1
        connected = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)[1]
        y, x = np.divmod(where, shape[1])
        rows, columns = (-(-side // _CELL) for side in shape)
        cell = y // _CELL * columns + x // _CELL
        component = connected.reshape(-1).take(where).astype(np.int64) * (rows * columns) + cell
        key = component << 8 | nearest
        self.order = np.argsort(key)
        key = key.take(self.order)
        runs = np.flatnonzero(_begins(key))  # of one nearest colour in one component
        begins = _begins(key.take(runs) >> 8)
        self._starts = runs[begins]
        self._sizes = np.diff(np.append(self._starts, len(where)))
        self.of = np.repeat(np.arange(len(self._starts)), self._sizes)
        counts = np.diff(np.append(runs, len(where)))
        self._candidates = self._most_frequent(
            (key.take(runs) & 255).astype(np.uint8), counts, np.cumsum(begins) - 1
        )

    def union(self, sets: np.ndarray) -> np.ndarray:
        """Return (C,) the union of the (N,) sets of each component's pixels."""
        return np.bitwise_or.reduceat(sets, self._starts)

    def vote(
        self, pixels: np.ndarray, units: np.ndarray, grounds: list[np.ndarray], costs: np.ndarray
    ) -> np.ndarray:
        """Find the colour that explains each component, pure or blended with a ground.

        An object of two or three pixels' width shows its pure colour nowhere, and a single pixel
        of it might be many blends. Only its own colour explains all of them.

        Pixels (3, N) and known colours (3, 256) are in units of noise; the G grounds are colours
        sure around each pixel, (N,), 255 for none; ``costs``, (256,), has the energy that a colour
        costs a component. Returns the (N,) uint8 colour of each pixel's component, 255 if none is
        clearly the best.
        """
        place = np.arange(len(self.of)) - self._starts.take(self.of)
        voters = np.flatnonzero((place % 3 == 0) | (self._sizes < _ALL_VOTE).take(self.of))
        of = self.of.take(voters)
        each = least_energy(
            pixels.take(voters, 1),
            units,
            self._candidates.take(of, 1),
            [ground.take(voters) for ground in grounds],
        )
        starts = np.flatnonzero(_begins(of))
        energies = np.add.reduceat(each, starts, 1)  # (T, C)
        energies *= (self._sizes / np.diff(np.append(starts, len(of)))).astype(np.float32)
        energies += np.where(
            self._candidates == IGNORE_INDEX, np.float32(np.inf), costs.take(self._candidates)
        )
        ranked = np.sort(np.vstack((energies, UNEXPLAINED * self._sizes)), 0)
        clear = (energies.min(0) == ranked[0]) & (ranked[1] - ranked[0] > _CLEAR)
        best = np.take_along_axis(self._candidates, energies.argmin(0)[None], 0)[0]
        return np.where(clear, best, np.uint8(IGNORE_INDEX)).take(self.of)

    def _most_frequent(
        self, colors: np.ndarray, counts: np.ndarray, components: np.ndarray
    ) -> np.ndarray:
        """(T, C) uint8 out of the counts of each component's colours; 255 for none."""
        order = np.lexsort((-counts, components))
        components = components.take(order)
        rank = np.arange(len(order)) - np.flatnonzero(_begins(components)).take(components)
        top = np.flatnonzero(rank < _CANDIDATES)
        candidates = np.full((_CANDIDATES, len(self._starts)), IGNORE_INDEX, np.uint8)
        candidates[rank.take(top), components.take(top)] = colors.take(order.take(top))
        return candidates


def _begins(values: np.ndarray) -> np.ndarray:
    """Mark where a value differs from the one before; true at the first."""
    return np.concatenate(([True], values[1:] != values[:-1]))
