"""What patches of unsure pixels have in common: the one colour that explains them together.

A thing of two or three pixels' width shows its pure colour nowhere: all of it is blends with the
ground, and each of these alone might as well be something else. But the thing's own colour, blended
with the ground, explains all of them, and a third class only those that its colour happens to pass.

Shape shorthand in this module: N: unsure pixels; P: patches; K: known colours; T: candidates;
G: grounds, colours that are sure around.
"""

import cv2
import numpy as np

from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.labels.unmixing import BLEND, UNEXPLAINED_ENERGY, look_up, unmix

_CELL = 8  # pixels: connected pixels in one cell of this side are a patch
_CANDIDATES = 3  # the most frequent nearest colours of a patch
_ALL = 12  # pixels: of larger patches every third one votes
_CLEAR = 6.0  # energy by which the best must beat the second best, and "nothing of these"


class Patches:
    """The patches of a picture's unsure pixels.

    Args:
        shape: (H, W) of the picture.
        where: (N,) flat indices of the pixels.
        own: (N,) uint8, the known colour nearest to each.

    Attributes:
        order: (N,) order of the pixels in which each patch is in one piece; every other array here,
            and all that the methods take, is in this order.
        of: (N,) patch of each pixel, from 0.
        starts: (P,) where each patch begins.
    """

    def __init__(self, shape: tuple[int, int], where: np.ndarray, own: np.ndarray) -> None:
        mask = np.zeros(shape, np.uint8)
        mask.reshape(-1)[where] = 1
        connected = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)[1]
        y, x = np.divmod(where, shape[1])
        cell = y // _CELL * -(-shape[1] // _CELL) + x // _CELL
        cells = -(-shape[0] // _CELL) * -(-shape[1] // _CELL)
        key = (connected.reshape(-1).take(where).astype(np.int64) * cells + cell) << 8 | own
        self.order = np.argsort(key)
        key = key.take(self.order)
        runs = np.flatnonzero(_begins(key))  # of one nearest colour in one patch
        begins = _begins(key.take(runs) >> 8)
        self.starts = runs[begins]
        self.of = np.repeat(
            np.arange(len(self.starts)), np.diff(np.append(self.starts, len(where)))
        )
        self._colors = (key.take(runs) & 255).astype(np.uint8)
        self._patches = np.cumsum(begins) - 1
        self._counts = np.diff(np.append(runs, len(where)))

    def union(self, sets: np.ndarray) -> np.ndarray:
        """(P,) the union of the (N,) sets of each patch's pixels."""
        return np.bitwise_or.reduceat(sets, self.starts)

    def colors(
        self, pixels: np.ndarray, units: np.ndarray, grounds: list[np.ndarray], prices: np.ndarray
    ) -> np.ndarray:
        """The colour that explains each patch, by itself or blended with the ground.

        Args:
            pixels: (3, N) in units of noise.
            units: (3, K), the known colours alike.
            grounds: Colours that are sure around, (N,) each; 255 for none.
            prices: (256,) energy that finding a colour costs a patch.

        Returns:
            (N,) uint8, the colour of each pixel's patch; 255 where none explains it clearly.
        """
        candidates = self._most_frequent()  # (T, P)
        sizes = np.diff(np.append(self.starts, len(self.of)))
        place = np.arange(len(self.of)) - self.starts.take(self.of)
        voters = np.flatnonzero((place % 3 == 0) | (sizes < _ALL).take(self.of))
        of = self.of.take(voters)
        each = _explained(
            pixels.take(voters, 1),
            units,
            [ground.take(voters) for ground in grounds],
            candidates.take(of, 1),
        )
        starts = np.flatnonzero(_begins(of))
        energies = np.add.reduceat(each, starts, 1)  # (T, P)
        energies *= (sizes / np.diff(np.append(starts, len(of)))).astype(np.float32)
        energies += np.where(
            candidates == IGNORE_INDEX, np.float32(np.inf), prices.take(candidates)
        )
        ranked = np.sort(np.vstack((energies, UNEXPLAINED_ENERGY * sizes)), 0)
        clear = (energies.min(0) == ranked[0]) & (ranked[1] - ranked[0] > _CLEAR)
        best = np.take_along_axis(candidates, energies.argmin(0)[None], 0)[0]
        return np.where(clear, best, np.uint8(IGNORE_INDEX)).take(self.of)

    def _most_frequent(self) -> np.ndarray:
        """(T, P) uint8: the most frequent nearest colours of each patch; 255 for none."""
        order = np.lexsort((-self._counts, self._patches))
        patches = self._patches.take(order)
        rank = np.arange(len(order)) - np.flatnonzero(_begins(patches)).take(patches)
        top = np.flatnonzero(rank < _CANDIDATES)
        found = np.full((_CANDIDATES, len(self.starts)), IGNORE_INDEX, np.uint8)
        found[rank.take(top), patches.take(top)] = self._colors.take(order.take(top))
        return found


def _explained(
    pixels: np.ndarray, units: np.ndarray, grounds: list[np.ndarray], colors: np.ndarray
) -> np.ndarray:
    """Least energy of (3, N) pixels in (T, N) colours, pure or blended with a ground: (T, N)."""
    first = look_up(units, colors)  # (3, T, N)
    offset = pixels[:, None] - first
    least = np.minimum((offset * offset).sum(0), np.float32(UNEXPLAINED_ENERGY))
    if not grounds:
        return least
    ground = np.stack(grounds)  # (G, N)
    energy, _ = unmix(pixels[:, None, None], first[:, None], look_up(units, ground)[:, :, None])
    energy += np.float32(BLEND)
    np.copyto(energy, np.float32(UNEXPLAINED_ENERGY), where=(ground == IGNORE_INDEX)[:, None])
    return np.minimum(least, energy.min(0))


def _begins(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; true at the first."""
    return np.concatenate(([True], values[1:] != values[:-1]))
