"""What the unsure pixels of a label picture are blends of.

A label picture was shrunk with interpolation and JPEG-coded, so a pixel on an edge shows a blend of
the classes that meet there, and blends come close to the colours of third classes. The rule here is
linear unmixing with two members at a time:

1. *Sure* pixels keep their colour's class: those that hold a known colour exactly, those in a 2 x 2
   block that lies within 16 levels of one colour, which a line of blends is too thin for, and those
   within 40 levels of the colour of the only class that is sure within two pixels. Where 4 asks for
   more than 0.8, the limits fall, to 10 and 5 levels.
2. Any other pixel is explained as a blend of two classes, one of them sure within two pixels. The
   second is as near, or, at a price and where no two are near, one that is sure 8 to 15 pixels
   around (in the blocks of 8 x 8 next to the pixel's own).
3. JPEG keeps brightness sharp and blurs colour (4:2:0 subsampling), so a blend has two shares, of
   brightness and of chroma, that may differ a little. The energy of an explanation is what it
   leaves over, in units of coding noise, what the two shares differ by, and its price;
   exp(-energy / 2) is its weight. The class of the larger share gets it, near one half both do.
4. The class that gets ``min_confidence`` of all weight, with some kept for "nothing of these", gets
   the pixel.
5. What nothing around explains is often a thin thing that shows its pure colour nowhere. Connected
   pixels vote: if one colour, blended with what is sure around, explains them together and clearly
   better than any other, it becomes a class that they may be of. Where the picture holds it nowhere
   for sure, fewer than 20 pixels of it are taken for a coincidence, so that classes are not found
   that are not in the picture.

The constants were chosen on generated street scenes and on maps made from train pairs, shrunk and
coded in several ways; none belongs to a palette. ``docs/labels.md`` has the measurements.

Shape shorthand in this module: H, W: picture height and width; K: known colours; N: unsure pixels;
S: slots, the classes that a pixel may be of.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from pspnet_plugin.labels.candidates import Slots
from pspnet_plugin.labels.class_sets import REACH, ClassBits, ClassSets
from pspnet_plugin.labels.components import Patches
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.labels.unmixing import TO_UNITS, weigh

# Levels (RGB distance) that a pixel may deviate by in flat areas, and where one class is all
# around: at most; where a confidence of 1 is asked for; and how many more per unit below that.
_FLAT, _PLAIN = (16, 10, 100), (40, 5, 180)
_NEAR, _FAR = 3, 2  # most classes of a pixel that are sure near, and farther or around a patch
_MARGIN = 2  # pixels at the border, where the other half's chroma and cut-off windows make colours
_FEW = 20  # pixels: fewer of a class that is sure nowhere are taken for a coincidence
_PACKED_TO_UNITS = np.pad(TO_UNITS[:, ::-1], ((0, 0), (0, 1)))  # from bytes B, G, R, 0
# Energies: a class of the wider surroundings; a patch's common colour, for each of its pixels, and
# once for the patch, where the picture holds that colour for sure elsewhere, and where nowhere.
_WIDER, _PATCH, _ELSEWHERE, _NOWHERE = 5.0, 4.0, 20.0, 80.0


class EdgeAwareDecoder:
    """Decodes label pictures in one set of known colours.

    Args:
        colors: RGB of the known colours, at most 255.
    """

    def __init__(self, colors: Iterable[tuple[int, int, int]]) -> None:
        rgb = np.array(list(colors), np.int64).reshape(-1, 3)
        self.size = len(rgb)
        self.units = np.zeros((3, 256), np.float32)
        self.units[:, : self.size] = TO_UNITS @ rgb.T.astype(np.float32)

    def sure(
        self, nearest: np.ndarray, distance: np.ndarray, *, min_confidence: float
    ) -> np.ndarray:
        """The sure pixels' colours.

        Args:
            nearest: (H, W) uint8, index of the nearest known colour or 255.
            distance: (H, W) uint8, its distance in RGB levels, rounded up.
            min_confidence: See ``decode``.

        Returns:
            (H, W) uint8: index of the colour, 255 for unsure pixels.
        """
        flat = _within(nearest, distance, _levels(_FLAT, min_confidence))
        # One colour in the 2 x 2 block that ends here; then all pixels of such blocks.
        square = np.ones((2, 2), np.uint8)
        low, high = (f(flat, square, anchor=(1, 1)) for f in (cv2.erode, cv2.dilate))
        block = (low == high).view(np.uint8)
        block[0], block[:, 0] = 0, 0  # there the block is cut off
        sure = flat | cv2.dilate(block, square, anchor=(0, 0)) - np.uint8(1)  # 255 outside
        return np.minimum(sure, _within(nearest, distance, 0))

    def decode(
        self,
        packed: np.ndarray,
        nearest: np.ndarray,
        distance: np.ndarray,
        *,
        min_confidence: float,
    ) -> np.ndarray:
        """Indices of known colours, (H, W) uint8; 255 where nothing explains a pixel well enough.

        Args:
            packed: (H, W) pixels as 0xRRGGBB, little-endian.
            nearest: See ``sure``.
            distance: See ``sure``.
            min_confidence: Share of the weight of all explanations, 0 to 1, that a class needs.
        """
        labels = self.sure(nearest, distance, min_confidence=min_confidence)
        where = np.flatnonzero(labels == IGNORE_INDEX)
        if not len(where):
            return labels
        left = _Unsure(labels, where, nearest.reshape(-1).take(where), size=self.size)
        # What is flat in the colour of the only class around needs no explanation.
        limit = _levels(_PLAIN, min_confidence)
        plain = left.plain(distance.reshape(-1).take(left.where) <= limit)
        left.label(plain, left.own)
        left.reorder(np.flatnonzero(~plain))
        held = left.held()
        left.reorder(self._by_neighbours(left, packed, min_confidence))
        left.reorder(np.flatnonzero(left.inside(_MARGIN)))
        if len(left.where):
            self._by_patches(left, packed, held, min_confidence)
        return labels

    def _by_neighbours(
        self, left: '_Unsure', packed: np.ndarray, min_confidence: float
    ) -> np.ndarray:
        """Gives pixels that are blends of classes around their class.

        Returns:
            The positions of those that nothing around explains.
        """
        near, wider = left.sets.near(left.at), left.sets.wider(left.at)
        first = left.bits.members(near, most=_NEAR)
        wider[(near & (near - near.dtype.type(1))) != 0] = 0  # two or more near ones explain it
        second = left.bits.members(wider & ~near, most=_FAR)
        if not first + second:
            return np.arange(len(near))
        slots = Slots(first, second)
        left.reorder(slots.order)
        found = weigh(left.units(packed), self.units, slots, price=_WIDER)
        left.label(found.clear(min_confidence), found.classes)
        return np.flatnonzero(found.explained < min_confidence)

    def _by_patches(
        self, left: '_Unsure', packed: np.ndarray, held: np.ndarray, min_confidence: float
    ) -> None:
        """Settles what a colour that connected pixels have in common explains."""
        patches = Patches(left.shape, left.where, left.own)
        left.reorder(patches.order)
        around = left.bits.members(patches.union(left.sets.near(left.at)), most=_FAR)
        grounds = [ground.take(patches.of) for ground in around]
        prices = np.where(held, np.float32(_ELSEWHERE), np.float32(_NOWHERE))
        common = patches.colors(left.units(packed), self.units, grounds, prices)
        known = np.zeros(len(common), bool)
        for ground in grounds:
            known |= ground == common
        slots = Slots(grounds, [np.where(known, np.uint8(IGNORE_INDEX), common)])
        left.reorder(slots.order)
        found = weigh(left.units(packed), self.units, slots, price=_PATCH)
        clear = found.clear(min_confidence)
        counts = np.bincount(found.classes[clear], minlength=256)
        left.label(clear & (held | (counts >= _FEW)).take(found.classes), found.classes)


def _levels(of: tuple[int, int, int], confidence: float) -> float:
    """The levels that a pixel may deviate by where a ``confidence`` is asked for."""
    most, least, per_doubt = of
    return min(most, least + per_doubt * (1 - confidence))


def _within(nearest: np.ndarray, distance: np.ndarray, limit: float) -> np.ndarray:
    """``nearest`` where the ``distance`` is at most ``limit``, else 255; (H, W) uint8 each."""
    return nearest | np.negative((distance > limit).view(np.uint8))  # 255 where true


class _Unsure:
    """The pixels of a picture that have no label yet, and what is sure around them.

    Args:
        labels: (H, W) uint8, 255 where unsure; labels are written into it.
        where: (N,) flat indices of the unsure pixels.
        own: (N,) uint8, the known colour nearest to each.
        size: K.
    """

    def __init__(
        self, labels: np.ndarray, where: np.ndarray, own: np.ndarray, *, size: int
    ) -> None:
        self.shape, self.labels = labels.shape, labels.reshape(-1)
        self.bits = ClassBits(labels, size)
        self.sets = ClassSets(self.bits.of(labels))
        self.where, self.own, self.at = where, own, self.sets.places(where)

    def plain(self, close: np.ndarray) -> np.ndarray:
        """Which of (N,) ``close`` pixels have no other class around than their nearest colour."""
        window = np.ones((2 * REACH + 1,) * 2, np.uint8)
        labels = self.labels.reshape(self.shape)
        lowest = cv2.erode(labels, window).reshape(-1).take(self.where)
        highest = cv2.dilate(labels + np.uint8(1), window)  # 0 where unsure
        highest = highest.reshape(-1).take(self.where) - np.uint8(1)
        return close & (lowest == self.own) & (highest == self.own) & (self.own != IGNORE_INDEX)

    def held(self) -> np.ndarray:
        """(256,) bool: the colours that are sure somewhere in the picture."""
        return (self.bits.table & np.bitwise_or.reduce(self.sets.bits)) != 0

    def inside(self, margin: int) -> np.ndarray:
        """Which pixels lie more than ``margin`` pixels from the border, (N,) bool."""
        height, width = self.shape
        y, x = np.divmod(self.where, width)
        return (y >= margin) & (y < height - margin) & (x >= margin) & (x < width - margin)

    def units(self, packed: np.ndarray) -> np.ndarray:
        """(3, N) in units of noise, out of the (H, W) pixels as 0xRRGGBB, little-endian."""
        bgr0 = packed.reshape(-1).take(self.where).view(np.uint8).reshape(-1, 4)
        return _PACKED_TO_UNITS @ bgr0.T.astype(np.float32)

    def label(self, chosen: np.ndarray, classes: np.ndarray) -> None:
        """Gives the pixels for which (N,) ``chosen`` is true their ``classes``."""
        rows = np.flatnonzero(chosen)
        classes = classes.take(rows)
        self.labels[self.where.take(rows)] = classes
        self.sets.bits[self.at.take(rows)] = self.bits.of(classes)

    def reorder(self, rows: np.ndarray) -> None:
        """Keeps the pixels ``rows``, in their order."""
        self.where, self.own, self.at = (a.take(rows) for a in (self.where, self.own, self.at))
