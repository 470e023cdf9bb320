"""Linear unmixing of pixels by two known colours, with separate shares of brightness and chroma.

Shape shorthand in this module: N: pixels; S: slots, the colours that a pixel may be of;
R: explanations (a pixel and two of its slots).
"""

from typing import NamedTuple

import numpy as np

NONE = 255
# RGB to Y, Cb, Cr (ITU-T T.871), each divided by its coding noise: levels near edges, not in flats.
TO_UNITS = np.float32(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
) / np.float32([[5.5], [7.5], [7.5]])
BLEND = 1.2  # energy that a blend costs against a single colour
UNEXPLAINED = 12.5  # energy of "nothing of these"
_SHIFT = 0.27  # by which the two shares usually differ
_SOFT = 0.04  # uncertainty of a share, as the scale of a logistic curve


class Found(NamedTuple):
    """What pixels may be.

    Attributes:
        classes: (N,) uint8, the best class.
        confidence: (N,) its share of the weight of all explanations.
        explained: (N,) the share of all explanations but "nothing of these".
    """

    classes: np.ndarray
    confidence: np.ndarray
    explained: np.ndarray

    def clear(self, min_confidence: float) -> np.ndarray:
        """(N,) bool: where the best class has enough of the weight, and any at all."""
        return (self.confidence >= min_confidence) & (self.confidence > 0)


def weigh(
    pixels: np.ndarray, units: np.ndarray, slots: np.ndarray, prices: np.ndarray, *, close: int
) -> Found:
    """Explains each pixel as one of its slots or as a blend of two.

    Args:
        pixels: (3, N) in units of noise.
        units: (3, K), the known colours alike.
        slots: (S, N) known colours; 255 where there is none.
        prices: (S, N) energy that choosing a slot costs.
        close: So many slots, the first ones, may stand alone in a blend; others need one of them.
    """
    count, size = slots.shape
    there = slots != NONE
    which, pairs = [], []
    for i in range(close):
        for j in range(i + 1, count):
            rows = np.flatnonzero(there[i] & there[j])
            which.append(rows)
            pairs.append((i * size, j * size, len(rows)))
    single = there.view(np.uint8).sum(0, dtype=np.uint8) == 1
    alone = np.flatnonzero(there & single)
    blends = np.concatenate(which) if which else alone[:0]
    first, second, lengths = np.array(pairs, np.intp).reshape(-1, 3).T
    which = np.concatenate((blends, alone % size))
    first = np.concatenate((blends + first.repeat(lengths), alone))
    second = np.concatenate((blends + second.repeat(lengths), alone))
    colors, prices = slots.reshape(-1), prices.reshape(-1)
    energy, share = unmix(
        pixels.take(which, 1),
        units.take(colors.take(first), 1),
        units.take(colors.take(second), 1),
    )
    energy += prices.take(first)
    energy[: len(blends)] += prices.take(second[: len(blends)]) + np.float32(BLEND)
    weight = np.exp(-0.5 * energy)
    larger = weight / (1 + np.exp((0.5 - share) * np.float32(1 / _SOFT)))
    mass = np.bincount(
        np.concatenate((first, second)),
        np.concatenate((weight - larger, larger)),
        count * size,
    ).reshape(count, size)
    best, classes = mass[0], slots[0]  # many times faster than mass.argmax(0)
    for slot, weights in zip(slots[1:], mass[1:], strict=True):
        classes = np.where(weights > best, slot, classes)
        best = np.maximum(weights, best)
    total = mass.sum(0)
    everything = total + np.exp(-0.5 * UNEXPLAINED)
    return Found(classes, best / everything, total / everything)


def unmix(pixels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple:
    """The best blend of two colours for each pixel.

    With the step d from the first colour to the second and the pixel's offset e from the first,
    the shares t (brightness) and u (chroma) in [0, 1] minimise
    ``(e_y - t d_y)^2 + |e_c - u d_c|^2 + ((t - u) / shift)^2``.

    Args:
        pixels: (3, R) in units of noise; row 0 is brightness.
        first: (3, R), one colour of the blend.
        second: (3, R), the other.

    Returns:
        The minimum, (R,), and the share of brightness of the second colour there, (R,).
    """
    step = second - first
    offset = pixels - first
    stiff = np.float32(1 / _SHIFT**2)
    square, along = step * step, step * offset
    bright, chroma = square[0], square[1] + square[2] + stiff
    along_chroma = along[1] + along[2]
    # The normal equations solved for t; then u, with t held in its range.
    t = (chroma * along[0] + stiff * along_chroma) / (
        bright * chroma + (chroma - stiff) * stiff + np.float32(1e-6)
    )
    t = t.clip(0, 1)
    u = ((along_chroma + stiff * t) / chroma).clip(0, 1)
    offset[0] -= t * step[0]
    offset[1:] -= u * step[1:]
    offset *= offset
    return offset.sum(0) + stiff * (t - u) ** 2, t
