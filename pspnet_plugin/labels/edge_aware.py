"""Edge-aware decoding: pixels on edges are explained as blends of the classes that meet there.

A label image was shrunk with interpolation and JPEG-coded. A pixel on an edge therefore shows a
blend of two classes, which often comes close to the colour of a third. The decoder unmixes it:

1. *Sure* pixels keep the class of their colour: pixels that hold a known colour exactly; 2 x 2
   blocks within 16 levels of one colour, since a line of blends is thinner; and pixels within 40
   levels of the only class that is sure within two pixels. If ``min_confidence`` exceeds 0.8, both
   limits fall, to 10 and 5 levels at 1.
2. Any other pixel is explained as a blend of two classes. One is sure within two pixels. The other
   is as near or, at a cost and only where no two are near, sure 8 to 15 pixels around (in the 8 x 8
   blocks next to the pixel's own).
3. JPEG keeps brightness sharp and blurs colour (4:2:0 subsampling), so a blend has two shares, of
   brightness and of chroma, that may differ a little. The energy of an explanation adds up its
   residual in units of coding noise, the difference of its shares, and its cost. Its weight,
   exp(-energy / 2), goes to the class of the larger share; near one half, to both.
4. The class that holds ``min_confidence`` of all weight gets the pixel; without one it becomes 255.
   "None of these" has some weight, too.
5. Pixels that nothing around explains often belong to a thin object that shows its pure colour
   nowhere. Connected pixels vote: if one colour, blended with what is sure around, explains them
   together and clearly better than any other, it becomes a candidate. If it is sure nowhere in the
   image, it also needs 20 pixels, so that decoding invents no classes. What is left ends as 255,
   and so does what nothing around explains within two pixels of the border.

The constants were chosen on generated street scenes and on maps made from train pairs, shrunk and
coded in several ways; none depends on a palette. ``docs/labels.md`` has the measurements.

Shape shorthand in this module: H, W: image height and width; K: known colours; N: unsure pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from pspnet_plugin.labels.blends import TO_UNITS, Candidates, explain
from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color
from pspnet_plugin.labels.surroundings import REACH, ClassSets, Components

# RGB distance that a pixel may deviate by, in flat areas and where a single class is around: the
# maximum; the value at a confidence of 1; the increase per unit of confidence below that.
_FLAT, _SINGLE = (16, 10, 100), (40, 5, 180)
_NEAR, _FAR = 3, 2  # most classes of a pixel that are sure near, and farther or around a component
_MARGIN = 2  # pixels at the border, where the other half's chroma and cut-off windows make colours
_FEW = 20  # pixels: fewer of a class that is sure nowhere are taken for a coincidence
_PACKED_TO_UNITS = np.pad(TO_UNITS[:, ::-1], ((0, 0), (0, 1)))  # from bytes B, G, R, 0
# Energies: of a class of the wider surroundings; of a component's colour, for each of its pixels,
# and once for the component, if the colour is sure elsewhere in the image, and if it is nowhere.
_WIDER, _COMPONENT, _ELSEWHERE, _NOWHERE = 5.0, 4.0, 20.0, 80.0


class EdgeAwareDecoder:
    """Decodes label images into positions in a list of at most 255 known colours (RGB)."""

    def __init__(self, colors: Sequence[Color], *, min_confidence: float) -> None:
        self.count = len(colors)
        self.units = np.zeros((3, 256), np.float32)
        self.units[:, : self.count] = TO_UNITS @ np.array(colors, np.float32).reshape(-1, 3).T
        self.min_confidence = min_confidence

    def sure(self, nearest: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Label the pixels that are sure without a look at others; see ``decode``."""
        flat = _within(nearest, distance, self._limit(_FLAT))
        # One colour in the 2 x 2 block that ends here; then all pixels of such blocks.
        square = np.ones((2, 2), np.uint8)
        low, high = (f(flat, square, anchor=(1, 1)) for f in (cv2.erode, cv2.dilate))
        block = (low == high).view(np.uint8)
        block[0], block[:, 0] = 0, 0  # there the block is cut off
        sure = flat | cv2.dilate(block, square, anchor=(0, 0)) - np.uint8(1)  # 255 outside
        return np.minimum(sure, _within(nearest, distance, 0))

    def decode(self, packed: np.ndarray, nearest: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Decode (H, W) pixels 0xRRGGBB into uint8 positions, 255 where nothing explains one well.

        ``nearest`` and ``distance``, (H, W) uint8, are the position of the nearest known colour,
        or 255, and its distance in RGB levels, rounded up.
        """
        labels = self.sure(nearest, distance)
        unsure = _UnsurePixels(labels, nearest, packed, count=self.count)
        if not len(unsure.where):
            return labels
        close = distance.reshape(-1).take(unsure.where) <= self._limit(_SINGLE)
        single = close & unsure.have_nearest_only()
        unsure.label(np.where(single, unsure.nearest, np.uint8(IGNORE_INDEX)))
        unsure.keep(np.flatnonzero(~single))
        exists = unsure.sets.present()  # before blends are labelled
        unsure.keep(self._label_by_neighbours(unsure))
        unsure.keep(np.flatnonzero(unsure.inside(_MARGIN)))
        if len(unsure.where):
            self._label_by_components(unsure, exists)
        return labels

    def _label_by_neighbours(self, unsure: '_UnsurePixels') -> np.ndarray:
        """Label blends of classes around; return which pixels nothing around explains."""
        sets = unsure.sets
        near, wider = sets.near(unsure.at), sets.wider(unsure.at)
        first = sets.members(near, most=_NEAR)
        wider[(near & (near - near.dtype.type(1))) != 0] = 0  # two or more near ones explain it
        second = sets.members(wider & ~near, most=_FAR)
        if not first + second:
            return np.arange(len(near))
        classes, explained = self._explain(unsure, first, second, far_cost=_WIDER)
        unsure.label(classes)
        return np.flatnonzero(explained < self.min_confidence)

    def _label_by_components(self, unsure: '_UnsurePixels', exists: np.ndarray) -> None:
        """Label pixels that a common colour of connected pixels explains.

        ``exists``, (256,) bool, marks the colours that are sure anywhere in the image.
        """
        components = Components(unsure.shape, unsure.where, unsure.nearest)
        unsure.keep(components.order)
        around = unsure.sets.members(components.union(unsure.sets.near(unsure.at)), most=_FAR)
        grounds = [ground.take(components.of) for ground in around]
        costs = np.where(exists, np.float32(_ELSEWHERE), np.float32(_NOWHERE))
        common = components.vote(unsure.units(), self.units, grounds, costs)
        for ground in grounds:
            common[common == ground] = IGNORE_INDEX  # a candidate already
        classes, _ = self._explain(unsure, grounds, [common], far_cost=_COMPONENT)
        few = ~exists & (np.bincount(classes, minlength=256) < _FEW)
        classes[few.take(classes)] = IGNORE_INDEX
        unsure.label(classes)

    def _explain(
        self, unsure: '_UnsurePixels', near: list, far: list, *, far_cost: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Explain the pixels, which get the order of their ``Candidates``; see ``explain``."""
        candidates = Candidates(near, far)
        unsure.keep(candidates.order)
        limits = dict(far_cost=far_cost, min_confidence=self.min_confidence)
        return explain(unsure.units(), self.units, candidates, **limits)

    def _limit(self, levels: tuple[int, int, int]) -> float:
        """Return the distance that a pixel may deviate by; see ``_FLAT``."""
        most, least, per_doubt = levels
        return min(most, least + per_doubt * (1 - self.min_confidence))


class _UnsurePixels:
    """Pixels without a label, and the classes that are sure around them.

    ``where`` holds their (N,) flat indices, ``at`` their positions in ``sets``. Labels are written
    into the (H, W) ``labels`` that it is made of.
    """

    def __init__(
        self, labels: np.ndarray, nearest: np.ndarray, packed: np.ndarray, *, count: int
    ) -> None:
        self.shape, self.labels, self.packed = labels.shape, labels.reshape(-1), packed.reshape(-1)
        self.sets = ClassSets(labels, count)
        self.where = np.flatnonzero(self.labels == IGNORE_INDEX)
        self.nearest = nearest.reshape(-1).take(self.where)
        self.at = self.sets.positions(self.where)

    def have_nearest_only(self) -> np.ndarray:
        """Return (N,) bool: the nearest colour is the only class that is sure around."""
        window = np.ones((2 * REACH + 1,) * 2, np.uint8)
        labels = self.labels.reshape(self.shape)
        lowest = cv2.erode(labels, window).reshape(-1).take(self.where)
        highest = cv2.dilate(labels + np.uint8(1), window)  # 0 where unsure
        highest = highest.reshape(-1).take(self.where) - np.uint8(1)
        only = (lowest == self.nearest) & (highest == self.nearest)
        return only & (self.nearest != IGNORE_INDEX)

    def inside(self, margin: int) -> np.ndarray:
        """Return (N,) bool: the pixel is at least ``margin`` pixels from the border."""
        height, width = self.shape
        y, x = np.divmod(self.where, width)
        return (y >= margin) & (y < height - margin) & (x >= margin) & (x < width - margin)

    def units(self) -> np.ndarray:
        """Return the (3, N) colours in units of noise."""
        bgr0 = self.packed.take(self.where).view(np.uint8).reshape(-1, 4)
        return _PACKED_TO_UNITS @ bgr0.T.astype(np.float32)

    def label(self, classes: np.ndarray) -> None:
        """Label pixels with (N,) uint8 classes, except where these are 255."""
        rows = np.flatnonzero(classes != IGNORE_INDEX)
        classes = classes.take(rows)
        self.labels[self.where.take(rows)] = classes
        self.sets.put(self.at.take(rows), classes)

    def keep(self, rows: np.ndarray) -> None:
        """Keep only the pixels ``rows``, in this order."""
        self.where, self.nearest, self.at = (
            array.take(rows) for array in (self.where, self.nearest, self.at)
        )


def _within(nearest: np.ndarray, distance: np.ndarray, limit: float) -> np.ndarray:
    """Return ``nearest`` where ``distance`` is at most ``limit``, else 255; (H, W) uint8 each."""
    return nearest | np.negative((distance > limit).view(np.uint8))  # 255 where true
