"""Decode the colours of a label image into class indices.

A label half is a colour-coded map that was shrunk with interpolation and JPEG-coded, so few of its
pixels hold an exact palette colour. ``LabelDecoder.decode`` has two rules: ``edge_aware`` explains
pixels on edges as blends of the classes that meet there (see ``edge_aware.py``); ``nearest`` gives
every pixel the class of the nearest known colour (Euclidean distance in RGB levels, 0..255), and so
finds third classes along edges.

A pixel becomes 255, ignored, if it has a void colour, which competes like a class; by ``nearest``,
if it is farther than ``max_distance`` from all known colours; by ``edge_aware``, if no class holds
``min_confidence`` of the weight of its explanations, or nothing around explains it; and if alpha
makes it invisible. Later, ``label_map`` of a dataset does so with classes that are not selected.

Shape shorthand in this module: H, W: image height and width; K: known colours.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from pspnet_plugin.labels.edge_aware import EdgeAwareDecoder
from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color, check_colors, is_number

RULES = ('edge_aware', 'nearest')
# Flat areas of JPEG-coded label images stay within about this distance of their colour.
FLAT_NOISE = 12


class LabelDecoder:
    """Decodes the label halves of pairs by one palette.

    Args:
        palette: RGB of each class; the position is the class index.
        void_palette: RGB of colours that are known and belong to no class.
        rule: ``'edge_aware'`` or ``'nearest'``. With more than 64 known colours, the edge-aware
            rule finds blends of the 64 that are most frequent in the image.
        max_distance: Distance from every known colour beyond which a pixel becomes 255; None for
            no limit. Only for the nearest rule; the edge-aware rule asks the pixels around.
        min_confidence: Share of the weight of all explanations, 0 to 1, that a class needs to get
            an unsure pixel; else it becomes 255. Only for the edge-aware rule. A higher value
            keeps fewer pixels, with fewer errors.
        min_explained: Share of the pixels, 0 to 1, that must lie within 12 of a known colour for an
            image to count as a label image. 0 accepts any image.

    Raises:
        ValueError: a colour is no triple of 0..255 or occurs twice, or there are more than 255.
    """

    def __init__(
        self,
        palette: Sequence[Sequence[int]],
        *,
        void_palette: Sequence[Sequence[int]] = (),
        rule: str = 'edge_aware',
        max_distance: float | None = 40,
        min_confidence: float = 0.8,
        min_explained: float = 0.5,
    ) -> None:
        self.palette = check_colors(palette, name='palette')
        self.void_palette = check_colors(void_palette, name='void_palette')
        known = self.palette + self.void_palette
        if len(known) > IGNORE_INDEX:
            raise ValueError(
                f'{len(known)} colours, classes and void: 8-bit maps have room for {IGNORE_INDEX}'
            )
        if twice := sorted({color for color in known if known.count(color) > 1}):
            raise ValueError(f'palette and void_palette name a colour twice: {twice}')
        if max_distance is not None and not (is_number(max_distance) and max_distance >= 0):
            raise ValueError(f'max_distance={max_distance!r}: give a number >= 0, or None')
        for name, share in dict(min_confidence=min_confidence, min_explained=min_explained).items():
            if not (is_number(share) and 0 <= share <= 1):
                raise ValueError(f'{name}={share!r}: give a share from 0 to 1')
        if rule not in RULES:
            raise ValueError(f'rule={rule!r}, expected one of {RULES}')
        self.rule = rule
        self.max_distance = max_distance
        self.min_confidence = min_confidence
        self.min_explained = min_explained
        self._classes = np.full(256, IGNORE_INDEX, np.uint8)  # of the known colours
        self._classes[: len(self.palette)] = np.arange(len(self.palette))
        self._edge_aware = EdgeAwareDecoder(known, min_confidence=min_confidence)

    @property
    def table(self) -> np.ndarray:
        """Lookup table, (2**24,) uint16, indexed by ``R << 16 | G << 8 | B``.

        Low byte: position of the nearest known colour, 255 beyond the limit. High byte: its
        distance in levels, rounded up, at most 255. Each process builds it once for a palette.
        """
        limit = self.max_distance if self.rule == 'nearest' else None
        return _build_table(self.palette + self.void_palette, limit)

    def decode(self, bgr: np.ndarray) -> np.ndarray:
        """Decode an (H, W, 3) uint8 BGR image into (H, W) uint8 class indices.

        A fourth channel is alpha. ``ValueError``: no image in this palette.
        """
        packed = _pack(bgr)
        invisible = bgr[..., 3] == 0 if bgr.shape[2] == 4 else None
        share = self._explained_share(packed, invisible)
        if share < self.min_explained:
            raise ValueError(
                f'only {share:.0%} of its pixels lie within {FLAT_NOISE} of a known colour; a '
                f'label image needs {self.min_explained:.0%}'
            )
        if invisible is not None:  # of the colour that disturbs the others least
            red, green, blue = (self.void_palette or self.palette)[0]
            packed[invisible] = red << 16 | green << 8 | blue
        nearest, distance = self._nearest(packed)
        if self.rule == 'edge_aware':
            nearest = self._edge_aware.decode(packed, nearest, distance)
        labels = cv2.LUT(nearest, self._classes)
        if invisible is not None:
            labels[invisible] = IGNORE_INDEX
        return labels

    def sure(self, bgr: np.ndarray) -> np.ndarray:
        """Return (H, W) bool: the pixels of an image that the edge-aware rule starts from."""
        return self._edge_aware.sure(*self._nearest(_pack(bgr))) != IGNORE_INDEX

    def is_label_image(self, bgr: np.ndarray) -> bool:
        """Return whether enough visible pixels of an image lie near known colours."""
        invisible = bgr[..., 3] == 0 if bgr.shape[2] == 4 else None
        return self._explained_share(_pack(bgr), invisible) >= self.min_explained

    def _nearest(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position and distance of the nearest known colour, (H, W) uint8 each."""
        entries = self.table.take(packed, mode='clip')  # none is out of range; no check is faster
        nearest, distance = cv2.split(entries.view(np.uint8).reshape(*entries.shape, 2))
        return nearest, distance

    def _explained_share(self, packed: np.ndarray, invisible: np.ndarray | None) -> float:
        """Return the share of pixels near a known colour, over a grid of at least 32 x 32."""
        step = max(1, min(packed.shape) // 32)
        sample = self.table.take(packed[::step, ::step]) >> 8
        if invisible is not None:
            sample = sample[~invisible[::step, ::step]]
        return np.count_nonzero(sample <= FLAT_NOISE) / sample.size if sample.size else 1.0


def _pack(bgr: np.ndarray) -> np.ndarray:
    """Return (H, W) numbers 0xRRGGBB: four bytes read as one, without arithmetic on channels."""
    bgra = cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA) if bgr.shape[2] == 3 else np.array(bgr, order='C')
    packed = bgra.view('<u4')[..., 0]
    packed &= 0xFFFFFF
    return packed


@lru_cache(maxsize=16)  # 32 MB each
def _build_table(known: tuple[Color, ...], max_distance: float | None) -> np.ndarray:
    """Find the nearest known colour of all 2**24 colours, exactly; ties go to the first."""
    colors = np.array(known, dtype=np.int32).reshape(-1, 3)  # (K, 3)
    level = np.arange(256, dtype=np.int32)
    squares = (level - colors[..., None]) ** 2  # (K, 3, 256)
    # One number holds the squared distance and, in its low byte, which colour: a minimum over the
    # colours then finds both, and red only adds a constant to a green-blue plane.
    planes = squares[:, 1, :, None] + squares[:, 2, None, :] << 8  # (K, 256, 256)
    planes |= np.arange(len(colors), dtype=np.int32)[:, None, None]
    limit = np.inf if max_distance is None else max_distance**2
    rounded_up = np.ceil(np.sqrt(np.arange(3 * 255**2 + 1))).clip(max=255).astype(np.uint16)
    table = np.empty((256, 256, 256), dtype=np.uint16)
    candidate = np.empty((256, 256), dtype=np.int32)
    for red in range(256):
        best = np.full((256, 256), 3 * 255**2 << 8 | IGNORE_INDEX, dtype=np.int32)
        for plane, square in zip(planes, squares[:, 0, red], strict=True):
            np.minimum(best, np.add(plane, square << 8, out=candidate), out=best)
        distance = best >> 8
        table[red] = np.where(distance <= limit, best & 0xFF, IGNORE_INDEX)
        table[red] |= rounded_up.take(distance) << 8
    table.setflags(write=False)  # shared by every decoder of these colours
    return table.reshape(-1)
