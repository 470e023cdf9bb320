"""The classes that pixels may be of, with pixels that have as many of them next to each other.

Looking up what the explanations of a pixel need takes longer than computing them. Once pixels are
sorted by how many classes they may be of, those with an i-th and a j-th are a few slices.

Shape shorthand in this module: N: pixels; S: slots, the classes that a pixel may be of.
"""

from typing import NamedTuple

import numpy as np

from pspnet_plugin.labels.palettes import IGNORE_INDEX


class Blend(NamedTuple):
    """Pixels that may be blends of the classes in two of their slots.

    Attributes:
        first: One slot.
        second: The other; the same for the pure class.
        rows: The pixels, in the order of ``Slots``.
    """

    first: int
    second: int
    rows: slice

    @property
    def size(self) -> int:
        """How many pixels there are."""
        return self.rows.stop - self.rows.start


class Slots:
    """Up to S classes of each pixel, of two kinds; each blend has one of the first kind.

    Args:
        near: Slots of the first kind, (N,) uint8 each. A pixel's classes are in the first ones, and
            255 in the rest.
        far: Slots of the second kind, alike.

    Attributes:
        order: (N,) the order of pixels in here: everything below is in it.
        classes: (S, N) uint8; 255 where there is none.
        close: So many of the slots are of the first kind; they come first.
    """

    def __init__(self, near: list[np.ndarray], far: list[np.ndarray]) -> None:
        self.close = len(near)
        classes = np.stack(near + far)
        there = (classes != IGNORE_INDEX).view(np.uint8)
        kinds = there[: self.close].sum(0, dtype=np.uint8) * np.uint8(len(far) + 1)
        kinds += there[self.close :].sum(0, dtype=np.uint8)
        self.order = np.argsort(kinds, kind='stable')
        self.classes = classes.take(self.order, 1)
        counts = np.bincount(kinds, minlength=(self.close + 1) * (len(far) + 1))
        # Where pixels with so many near and so many far classes begin.
        self._starts = np.append(0, np.cumsum(counts)).tolist()

    def near_blends(self) -> list[Blend]:
        """Blends of two near classes."""
        blends = []
        for second in range(1, self.close):
            rows = self._range(second + 1, 0, self.close + 1)
            blends += [Blend(first, second, rows) for first in range(second)]
        return _some(blends)

    def far_blends(self) -> list[Blend]:
        """Blends of a near and a far class."""
        blends = []
        for far in range(self.close, len(self.classes)):
            for near in range(1, self.close + 1):  # pixels with so many near classes
                rows = self._range(near, far - self.close + 1, near + 1)
                blends += [Blend(first, far, rows) for first in range(near)]
        return _some(blends)

    def alone(self) -> list[Blend]:
        """The classes of pixels that may be of one only, as blends with themselves."""
        blends = []
        if self.close:
            blends.append(Blend(0, 0, slice(self._start(1, 0), self._start(1, 1))))
        if self.close < len(self.classes):
            far = slice(self._start(0, 1), self._start(0, 2))
            blends.append(Blend(self.close, self.close, far))
        return _some(blends)

    def _range(self, near: int, far: int, end: int) -> slice:
        """From pixels of ``near`` near and at least ``far`` far classes to ``end`` near ones."""
        return slice(self._start(near, far), self._start(end, 0))

    def _start(self, near: int, far: int) -> int:
        return self._starts[near * (len(self.classes) - self.close + 1) + far]


def _some(blends: list[Blend]) -> list[Blend]:
    """Those that are of any pixels."""
    return [blend for blend in blends if blend.size]
