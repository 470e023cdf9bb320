"""What the unsure pixels of a label picture are blends of.

A label picture was shrunk with interpolation and JPEG-coded, so a pixel on an edge shows a blend of
the classes that meet there, and blends come close to the colours of third classes. The rule here is
linear unmixing with two members at a time:

1. *Sure* pixels keep their colour's class: those that hold a known colour exactly, those in a 2 x 2
   block that lies within 16 levels of one colour, which a line of blends is too thin for, and those
   within 24 levels of the colour of the only class that is sure within two pixels.
2. Any other pixel is explained as a blend of two classes, one of them sure within two pixels. The
   second is as near, or, at a price, one that is sure some 12 pixels around.
3. JPEG keeps brightness sharp and blurs colour (4:2:0 subsampling), so a blend has two shares, of
   brightness and of chroma, that may differ a little. The energy of an explanation is what it
   leaves over, in units of coding noise, what the two shares differ by, and its price;
   exp(-energy / 2) is its weight. The class of the larger share gets it, near one half both do.
4. The class that gets ``min_confidence`` of all weight, with some kept for "nothing of these", gets
   the pixel. What is left is tried once more where its neighbours were settled meanwhile, and with
   the pixel's own nearest colour as a second class, dearer where the picture holds that nowhere for
   sure; fewer than 12 pixels of such a class are taken for a coincidence. So thin things that show
   their pure colour nowhere are found, and classes that are not in the picture are not.

The constants were chosen on generated street scenes and on maps made from train pairs, shrunk and
coded in several ways; none belongs to a palette. ``docs/labels.md`` has the measurements.

Shape shorthand in this module: H, W: picture height and width; K: known colours; N: unsure pixels;
S: slots, the classes that a pixel may be of; R: explanations (a pixel and two of its slots).
"""

from collections.abc import Iterable

import cv2
import numpy as np

from pspnet_plugin.datasets.class_sets import NONE, ClassBits, ClassSets

FLAT = 16  # levels (RGB distance) that flat areas deviate by, between JPEG qualities 95 and 75
# RGB to Y, Cb, Cr (ITU-T T.871), each divided by its coding noise: levels near edges, not in flats.
_TO_UNITS = np.float32(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
) / np.float32([[5.5], [7.5], [7.5]])
_SHIFT = 0.27  # by which the two shares usually differ
_SOFT = 0.04  # uncertainty of a share, as the scale of a logistic curve
_PLAIN = 24  # levels that a pixel may deviate by where one class is all around
_FEW = 12  # pixels: fewer of a class that is sure nowhere are taken for a coincidence
# Energies: a blend against a single colour; a class of the wider surroundings; the pixel's own
# nearest colour where it is sure elsewhere in the picture, and where it is not; nothing of these.
_BLEND, _WIDER, _ELSEWHERE, _NOWHERE, _UNEXPLAINED = 1.2, 5.0, 7.0, 8.5, 12.5


class EdgeAwareRule:
    """Decodes label pictures in one set of known colours.

    Args:
        colors: RGB of the known colours, at most 255.
    """

    def __init__(self, colors: Iterable[tuple[int, int, int]]) -> None:
        rgb = np.array(list(colors), np.int64).reshape(-1, 3)
        self.size = len(rgb)
        self.codes = np.full(256, -1, np.int64)  # 0xRRGGBB; no pixel has -1
        self.codes[: self.size] = rgb @ [1 << 16, 1 << 8, 1]
        self.units = _TO_UNITS @ rgb.T.astype(np.float32)  # (3, K)

    def sure(
        self, packed: np.ndarray, nearest: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sure pixels' colours.

        Args:
            packed: (H, W) pixels as 0xRRGGBB.
            nearest: (H, W) uint8, index of the nearest known colour or 255.
            distance: (H, W) uint8, its distance in RGB levels, rounded up.

        Returns:
            (H, W) uint8: index of the colour, 255 for unsure pixels; and the flat indices of the
            latter, (N,).
        """
        flat = nearest | np.negative((distance > FLAT).view(np.uint8))  # 255 where true
        # One colour in the 2 x 2 block that ends here; then all pixels of such blocks.
        square = np.ones((2, 2), np.uint8)
        low, high = (f(flat, square, anchor=(1, 1)) for f in (cv2.erode, cv2.dilate))
        block = (low == high).view(np.uint8)
        block[0], block[:, 0] = 0, 0  # there the block is cut off
        sure = flat | cv2.dilate(block, square, anchor=(0, 0)) - np.uint8(1)  # 255 outside
        rest = np.flatnonzero(sure == NONE)
        colors = nearest.reshape(-1).take(rest)
        exact = self.codes.take(colors) == packed.reshape(-1).take(rest)
        sure.reshape(-1)[rest[exact]] = colors[exact]
        return sure, rest[~exact]

    def decode(
        self,
        bgr: np.ndarray,
        packed: np.ndarray,
        nearest: np.ndarray,
        distance: np.ndarray,
        *,
        min_confidence: float,
    ) -> np.ndarray:
        """Indices of known colours, (H, W) uint8; 255 where nothing explains a pixel well enough.

        Args:
            bgr: (H, W, 3) uint8, the label picture.
            packed: See ``sure``.
            nearest: See ``sure``.
            distance: See ``sure``.
            min_confidence: Share of the weight of all explanations, 0 to 1, that a class needs.
        """
        labels, unsure = self.sure(packed, nearest, distance)
        if not len(unsure):
            return labels
        bits = ClassBits(labels, self.size)
        sets = ClassSets(bits.of(labels))
        at, own = sets.places(unsure), nearest.reshape(-1).take(unsure)
        flat_labels = labels.reshape(-1)

        def settle(chosen: np.ndarray, classes: np.ndarray) -> None:
            where, place, classes = _only(chosen, unsure, at, classes)
            flat_labels[where] = classes
            sets.bits[place] = bits.of(classes)

        # What is flat in the colour of the only class around needs no explanation.
        own_bit = bits.of(own)
        plain = distance.reshape(-1).take(unsure) <= _PLAIN
        plain &= (own_bit == sets.near(at)) & (own_bit != 0)
        settle(plain, own)
        unsure, at, own = _only(~plain, unsure, at, own)
        pixels = _TO_UNITS[:, ::-1] @ bgr.reshape(-1, 3).take(unsure, 0).T.astype(np.float32)
        held = (bits.table & np.bitwise_or.reduce(sets.bits)) != 0  # by the picture, for sure
        own_price = np.where(held, np.float32(_ELSEWHERE), np.float32(_NOWHERE))
        near, wider = sets.near(at), sets.wider(at)
        for with_own in (False, True):
            slots = bits.members(near)
            close = len(slots)
            slots += bits.members(wider & ~near)
            if with_own:
                slots.append(np.where(bits.of(own) & (near | wider), np.uint8(NONE), own))
            if not slots:
                continue
            prices = np.full((len(slots), len(unsure)), _WIDER, np.float32)
            prices[:close] = 0
            if with_own:
                prices[-1] = own_price.take(slots[-1])
            classes, confidence = self._weigh(pixels, np.stack(slots), prices, close=close)
            settled = confidence >= min_confidence
            if with_own:
                found = np.bincount(classes[settled], minlength=256)
                settled &= (held | (found >= _FEW)).take(classes)
            settle(settled, classes)
            if with_own:
                break
            before, near = near, sets.near(at)
            new = (bits.of(own) & (before | wider)) == 0
            again = ~settled & (new & (own != NONE) | (near != before))
            unsure, at, pixels, own, near, wider = _only(
                again, unsure, at, pixels, own, near, wider
            )
        return labels

    def _weigh(
        self, pixels: np.ndarray, slots: np.ndarray, prices: np.ndarray, *, close: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best class of each pixel and its share of the weight of all explanations, (N,) each.

        Args:
            pixels: (3, N) in units of noise.
            slots: (S, N) known colours; 255 where there is none.
            prices: (S, N) energy that choosing a slot costs.
            close: So many slots, the first ones, are near; one of a blend must be.
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
        energy, share = _blend(
            pixels.take(which, 1),
            self.units.take(colors.take(first), 1),
            self.units.take(colors.take(second), 1),
        )
        energy += prices.take(first)
        energy[: len(blends)] += prices.take(second[: len(blends)]) + np.float32(_BLEND)
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
        return classes, best / (mass.sum(0) + np.exp(-0.5 * _UNEXPLAINED))


def _only(chosen: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """What (..., N) arrays hold of the pixels for which (N,) ``chosen`` is true."""
    rows = np.flatnonzero(chosen)
    return [array.take(rows, -1) for array in arrays]


def _blend(pixels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple:
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
