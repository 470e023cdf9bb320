"""Linear unmixing of pixels by two known colours, with separate shares of brightness and chroma.

Shape shorthand in this module: N: pixels; S: slots, the colours that a pixel may be of;
R: explanations (a pixel and two of its slots).
"""

from typing import NamedTuple

import cv2
import numpy as np

from pspnet_plugin.labels.candidates import Blend, Slots

# RGB to Y, Cb, Cr (ITU-T T.871), each divided by its coding noise: levels near edges, not in flats.
TO_UNITS = np.float32(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
) / np.float32([[5.5], [7.5], [7.5]])
BLEND = 1.2  # energy that a blend costs against a single colour
UNEXPLAINED_ENERGY = 12.5  # energy of "nothing of these"
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


def weigh(pixels: np.ndarray, units: np.ndarray, slots: Slots, *, price: float) -> Found:
    """Explains each pixel as one of its slots or as a blend of two, one of them near.

    Args:
        pixels: (3, N) in units of noise, in the order of ``slots``.
        units: (3, 256), the known colours alike.
        slots: What each pixel may be of.
        price: Energy that a far slot costs.
    """
    blends = slots.near_blends() + slots.far_blends() + slots.alone()
    mass = np.zeros(slots.classes.shape, np.float32)
    if blends:
        energy, share = unmix_blends(pixels, units, slots.classes, blends)
        costs = [
            BLEND * (first != second) + price * (second >= slots.close)
            for first, second, _ in blends
        ]
        energy += np.repeat(np.float32(costs), [blend.size for blend in blends])
        weight = np.exp(-0.5 * energy)
        larger = weight / (1 + np.exp((0.5 - share) * np.float32(1 / _SOFT)))
        weight -= larger
        start = 0
        for first, second, rows in blends:
            end = start + rows.stop - rows.start
            mass[first, rows] += weight[start:end]
            mass[second, rows] += larger[start:end]
            start = end
    best, chosen = mass[0].copy(), slots.classes[0].copy()
    # A slot at a time: many times faster than mass.argmax(0).
    for slot, weights in zip(slots.classes[1:], mass[1:], strict=True):
        better = np.negative((weights > best).view(np.uint8))  # 255 where true
        chosen ^= (chosen ^ slot) & better
        np.maximum(best, weights, out=best)
    total = mass.sum(0)
    everything = total + np.float32(np.exp(-0.5 * UNEXPLAINED_ENERGY))
    return Found(chosen, best / everything, total / everything)


def unmix_blends(
    pixels: np.ndarray, units: np.ndarray, classes: np.ndarray, blends: list[Blend]
) -> tuple[np.ndarray, np.ndarray]:
    """Unmixes each blend's pixels, one blend after the other.

    Args:
        pixels: (3, N) in units of noise.
        units: (3, 256), the known colours alike.
        classes: (S, N) uint8, the slots.
        blends: At least one.

    Returns:
        Energies, (R,), and shares of the second class, (R,).
    """
    first = [classes[blend.first, blend.rows] for blend in blends]
    second = [classes[blend.second, blend.rows] for blend in blends]
    return unmix(
        np.concatenate([pixels[:, blend.rows] for blend in blends], 1),
        look_up(units, np.concatenate(first)[None])[:, 0],
        look_up(units, np.concatenate(second)[None])[:, 0],
    )


def look_up(units: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """(3, T, N) units of (T, N) colours; faster than ``take``."""
    found = np.empty((3, *colors.shape), np.float32)
    for row, plane in zip(units, found, strict=True):
        cv2.LUT(colors, row, dst=plane)
    return found


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
    bright, chroma = square[0], square[1] + square[2]
    along_bright, along_chroma = along[0], along[1] + along[2]
    # The normal equations solved for t; then u, with t held in its range.
    bright *= chroma + stiff
    bright += stiff * chroma + np.float32(1e-6)
    chroma += stiff
    along_bright *= chroma
    along_bright += stiff * along_chroma
    t = (along_bright / bright).clip(0, 1)
    along_chroma += stiff * t
    u = (along_chroma / chroma).clip(0, 1)
    step[0] *= t
    step[1:] *= u
    step -= offset
    step *= step
    u -= t
    u *= u
    return step[0] + step[1] + step[2] + stiff * u, t
