"""Linear unmixing: explain pixels as blends of two of their candidate classes.

JPEG's 4:2:0 subsampling blurs only colour, so a blend has a share of brightness and one of chroma.
Looking up the colours of blends takes longer than unmixing them. Pixels are therefore sorted by how
many candidates they have: those with an i-th and a j-th candidate are then a slice.

Shape shorthand in this module: N: pixels; S: candidates of a pixel; B: blends over all pixels;
T, G: see ``least_energy``. ``units`` are (3, 256) float32: the known colours in units of noise.
"""

from typing import NamedTuple

import cv2
import numpy as np

from pspnet_plugin.labels.palettes import IGNORE_INDEX

# RGB to Y, Cb, Cr (ITU-T T.871), each divided by its coding noise: levels near edges, not in flats.
TO_UNITS = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
) / np.array([[5.5], [7.5], [7.5]], np.float32)
UNEXPLAINED = 12.5  # energy of "none of these"
_BLEND = 1.2  # energy that a blend costs, against a single colour
_SHIFT = 0.27  # usual difference of the two shares
_SOFT = 0.04  # uncertainty of a share, as the scale of a logistic curve


class Blend(NamedTuple):
    """Blend of two candidates; twice the same one for a pure class."""

    first: int
    second: int
    rows: slice  # of pixels, in the order of ``Candidates``


class Candidates:
    """Up to S classes that each pixel may show, and the blends of them that are tried.

    A near class blends with near and far ones; a pixel's only candidate is tried by itself.
    ``order``, (N,), sorts the pixels; ``classes``, (S, N), near before far ones, has this order.

    ``near`` lists the classes sure near the pixels, (N,) uint8 each, and ``far`` others; 255 stands
    for none, and comes after all classes of a pixel.
    """

    def __init__(self, near: list[np.ndarray], far: list[np.ndarray]) -> None:
        self.num_near, num_far = len(near), len(far)
        classes = np.stack(near + far)
        exists = (classes != IGNORE_INDEX).view(np.uint8)
        kinds = exists[: self.num_near].sum(0, dtype=np.uint8) * np.uint8(num_far + 1)
        kinds += exists[self.num_near :].sum(0, dtype=np.uint8)
        self.order = np.argsort(kinds, kind='stable')
        self.classes = classes.take(self.order, 1)
        counts = np.bincount(kinds, minlength=(self.num_near + 1) * (num_far + 1))
        starts = np.append(0, np.cumsum(counts)).tolist()

        def start(nears: int, fars: int) -> int:  # of the pixels with so many candidates
            return starts[nears * (num_far + 1) + fars]

        blends = []
        for second in range(1, self.num_near):
            rows = slice(start(second + 1, 0), start(self.num_near + 1, 0))
            blends += [Blend(first, second, rows) for first in range(second)]
        for second in range(num_far):
            for count in range(1, self.num_near + 1):
                rows = slice(start(count, second + 1), start(count + 1, 0))
                blends += [Blend(first, self.num_near + second, rows) for first in range(count)]
        if near:
            blends.append(Blend(0, 0, slice(start(1, 0), start(1, 1))))
        if far:
            blends.append(Blend(self.num_near, self.num_near, slice(start(0, 1), start(0, 2))))
        self.blends = [blend for blend in blends if blend.rows.start < blend.rows.stop]


def explain(
    pixels: np.ndarray,
    units: np.ndarray,
    candidates: Candidates,
    *,
    far_cost: float,
    min_confidence: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Explain each pixel as one of its candidates or as a blend of two, one of them near.

    ``pixels``, (3, N) in units of noise, have the order of ``candidates``; ``far_cost`` is the
    energy that a far class costs; ``min_confidence``, the share of all weight that a class needs.
    Returns (N,) uint8, the best class, 255 if it lacks confidence; and (N,) float32, the share of
    all explanations but "none of these".
    """
    classes, blends = candidates.classes, candidates.blends
    weights = np.zeros(classes.shape, np.float32)  # (S, N)
    if blends:
        energy, share = unmix(
            np.concatenate([pixels[:, blend.rows] for blend in blends], 1),
            _look_up(units, np.concatenate([classes[b.first, b.rows] for b in blends])),
            _look_up(units, np.concatenate([classes[b.second, b.rows] for b in blends])),
        )
        costs = [
            _BLEND * (first != second) + far_cost * (second >= candidates.num_near)
            for first, second, _ in blends
        ]
        sizes = [rows.stop - rows.start for _, _, rows in blends]
        energy += np.repeat(np.array(costs, np.float32), sizes)
        weight = np.exp(-0.5 * energy)
        larger = weight / (1 + np.exp((0.5 - share) * np.float32(1 / _SOFT)))
        weight -= larger
        start = 0
        for (first, second, rows), size in zip(blends, sizes, strict=True):
            weights[first, rows] += weight[start : start + size]
            weights[second, rows] += larger[start : start + size]
            start += size
    best, chosen = weights[0].copy(), classes[0].copy()
    # One candidate after the other: many times faster than weights.argmax(0).
    for candidate, theirs in zip(classes[1:], weights[1:], strict=True):
        better = np.negative((theirs > best).view(np.uint8))  # 255 where true
        chosen ^= (chosen ^ candidate) & better
        np.maximum(best, theirs, out=best)
    total = weights.sum(0)
    everything = total + np.float32(np.exp(-0.5 * UNEXPLAINED))
    confidence = best / everything
    unclear = (confidence < min_confidence) | (confidence == 0)
    return chosen | np.negative(unclear.view(np.uint8)), total / everything


def least_energy(
    pixels: np.ndarray, units: np.ndarray, colors: np.ndarray, grounds: list[np.ndarray]
) -> np.ndarray:
    """Explain (3, N) pixels by each of (T, N) colours, pure or blended with one of G grounds.

    Grounds are (N,) uint8 each, 255 for none. Returns the (T, N) energy of the best explanation, at
    most that of "none of these".
    """
    first = _look_up(units, colors)  # (3, T, N)
    offset = pixels[:, None] - first
    least = np.minimum((offset * offset).sum(0), np.float32(UNEXPLAINED))
    if not grounds:
        return least
    ground = np.stack(grounds)  # (G, N)
    energy, _ = unmix(pixels[:, None, None], first[:, None], _look_up(units, ground)[:, :, None])
    energy += np.float32(_BLEND)  # (G, T, N)
    np.copyto(energy, np.float32(UNEXPLAINED), where=(ground == IGNORE_INDEX)[:, None])
    return np.minimum(least, energy.min(0))


def unmix(
    pixels: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best blend of two colours for each pixel; all are (3, B), row 0 is brightness.

    With the step d from the first colour to the second and the pixel's offset e from the first,
    the shares t (brightness) and u (chroma) in [0, 1] minimise
    ``(e_y - t d_y)^2 + |e_c - u d_c|^2 + ((t - u) / shift)^2``. Returns the minimum and t, (B,).
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


def _look_up(units: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return the (3, ...) units of (...) colours; faster than ``take``."""
    flat = colors.reshape(1, -1)
    rows = np.empty((3, flat.size), np.float32)
    for table, row in zip(units, rows, strict=True):
        cv2.LUT(flat, table, dst=row[None])
    return rows.reshape(3, *colors.shape)
