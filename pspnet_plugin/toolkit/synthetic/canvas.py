"""Canvas of a synthetic street scene: it draws photo and labels together, through one camera.

Every primitive takes metres and paints the photo, the label map or both, so that the two agree by
construction. Later drawings hide earlier ones (painter's algorithm), so callers draw far objects
first.

World: x to the right, y up from the ground, z ahead of the camera. Pixels: column = center +
focal x / z, row = horizon + focal (eye - y) / z.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset
from pspnet_plugin.labels.palettes import Color

_META = CityscapesPairsDataset.METAINFO
VOID_NAMES = (
    'unlabelled', 'dynamic', 'ground', 'parking', 'rail track', 'guard rail', 'bridge', 'tunnel',
    'caravan', 'trailer',
)  # fmt: skip
PALETTE = np.array([*_META['palette'], *_META['void_palette']], dtype=np.uint8)  # (K, 3) RGB
NUM_CLASSES = len(_META['classes'])
INDEX = {name: index for index, name in enumerate((*_META['classes'], *VOID_NAMES))}

# Relative brightness noise of a surface, in single pixels and in lumps of about ten pixels.
_TEXTURE = {
    'road': (0.08, 0.04), 'sidewalk': (0.1, 0.07), 'parking': (0.2, 0.08), 'ground': (0.3, 0.14),
    'rail track': (0.35, 0.1), 'building': (0.1, 0.07), 'wall': (0.22, 0.14), 'sky': (0.0, 0.02),
    'vegetation': (0.55, 0.45), 'terrain': (0.5, 0.16), 'person': (0.1, 0.12), 'rider': (0.1, 0.12),
}  # fmt: skip
_PLAIN = (0.08, 0.04)

Real = float | np.ndarray  # metres; arrays draw many objects in one call
Paint = Color | None  # None leaves the photo as it is
Label = str | None  # None leaves the label map as it is


class Canvas:
    """Photo and labels of one scene, with its camera; ``rng`` decides all that is random."""

    def __init__(self, rng: np.random.Generator) -> None:
        height, width = 512, 1024
        self.rng = rng
        self.photo: np.ndarray = np.zeros((height, width, 3), np.uint8)  # RGB
        self.labels: np.ndarray = np.zeros((height, width), np.uint8)  # indices into PALETTE
        self.focal = width * rng.uniform(0.62, 0.85)
        self.horizon = height * rng.uniform(0.40, 0.49)
        self.center = width * rng.uniform(0.4, 0.6)
        self.eye = rng.uniform(1.3, 1.7)

    def chance(self, share: float) -> bool:
        """Return True in ``share`` of the calls."""
        return bool(self.rng.random() < share)

    def paint(self, colors: ArrayLike, *, spread: float = 12) -> Color:
        """Choose one of the colours; make it lighter or darker and tint it slightly at random."""
        colors = np.atleast_2d(colors)
        color = colors[self.rng.integers(len(colors))]
        common, *tint = self.rng.standard_normal(4)
        color = color + spread * (common + np.array(tint) / 3)
        red, green, blue = color.clip(4, 252).astype(int).tolist()
        return red, green, blue

    def project(self, x: Real, y: Real, z: Real) -> np.ndarray:
        """Project points in metres to pixels, (..., 2) int32; arrays broadcast."""
        scale = self.focal / np.maximum(z, 0.5)
        points = np.broadcast_arrays(self.center + x * scale, self.horizon + (self.eye - y) * scale)
        return np.rint(np.stack(points, -1)).astype(np.int32)

    def fill(self, points: np.ndarray, color: Paint, label: Label) -> None:
        """Fill polygons of pixels, (K, 2) or (N, K, 2)."""
        polygons = list(points.reshape(-1, *points.shape[-2:]))
        self._draw(color, label, lambda image, value: cv2.fillPoly(image, polygons, value))

    def _draw(self, color: Paint, label: Label, draw: Callable[[np.ndarray, Any], Any]) -> None:
        """Call ``draw(image, value)`` with the photo, the labels or both."""
        if color is not None:
            draw(self.photo, color)
        if label is not None:
            draw(self.labels, INDEX[label])

    def front(
        self, x0: Real, x1: Real, y0: Real, y1: Real, z: Real, color: Paint, label: Label = None
    ) -> None:
        """Draw upright rectangles that face the camera."""
        self._quads((x0, x0, x1, x1), (y0, y1, y1, y0), (z, z, z, z), color, label)

    def side(
        self, x: Real, y0: Real, y1: Real, z0: Real, z1: Real, color: Paint, label: Label = None,
        *, lean: float = 0.0,
    ) -> None:  # fmt: skip
        """Draw upright rectangles along the street; ``lean`` moves their upper edge sideways."""
        self._quads((x, x + lean, x + lean, x), (y0, y1, y1, y0), (z0, z0, z1, z1), color, label)

    def flat(
        self, x0: Real, x1: Real, z0: Real, z1: Real, color: Paint, label: Label = None,
        *, y: float = 0.0,
    ) -> None:  # fmt: skip
        """Draw level rectangles, on the ground or at height ``y``."""
        self._quads((x0, x0, x1, x1), (y, y, y, y), (z0, z1, z1, z0), color, label)

    def _quads(self, x: tuple, y: tuple, z: tuple, color: Paint, label: Label) -> None:
        corners = np.stack(np.broadcast_arrays(*x, *y, *z), -1)  # (..., 12)
        self.fill(self.project(*np.split(corners, 3, -1)), color, label)

    def shape(
        self, points: ArrayLike, x: float, z: float, color: Paint, label: Label = None
    ) -> None:
        """Draw a polygon of (sideways, up) metres that faces the camera at ``x`` and ``z``."""
        self.fill(self._facing(points, x, z), color, label)

    def stroke(
        self, points: ArrayLike, x: float, z: float, width: float, color: Paint, label: Label = None
    ) -> None:
        """Draw an open line of (sideways, up) metres, ``width`` metres thick, 2 pixels or more."""
        line = [self._facing(points, x, z)]
        thickness = max(2, round(width * self.focal / z))
        self._draw(color, label, lambda i, v: cv2.polylines(i, line, False, v, thickness))

    def _facing(self, points: ArrayLike, x: float, z: float) -> np.ndarray:
        sideways, up = np.asarray(points, dtype=np.float64).T
        return self.project(x + sideways, up, z)

    def disc(
        self, x: float, y: float, z: float, rx: float, ry: float, color: Paint, label: Label = None,
        *, ring: float = 0.0,
    ) -> None:  # fmt: skip
        """Draw an ellipse that faces the camera; if ``ring``, only a rim of so many metres."""
        middle = self.project(x, y, z).tolist()
        scale = self.focal / z
        axes = (max(1, round(rx * scale)), max(1, round(ry * scale)))
        thickness = max(2, round(ring * scale)) if ring else cv2.FILLED
        self._draw(color, label, lambda i, v: cv2.ellipse(i, middle, axes, 0, 0, 360, v, thickness))

    def lines(self, starts: np.ndarray, ends: np.ndarray, color: Color, thickness: int) -> None:
        """Draw straight lines between pixels (N, 2), in the photo only."""
        cv2.polylines(self.photo, [*np.stack((starts, ends), 1)], False, color, thickness)

    def shade(self, points: np.ndarray, strength: float) -> None:
        """Darken the photo inside a polygon of pixels."""
        mask = np.zeros(self.labels.shape, np.uint8)
        cv2.fillPoly(mask, [points], 255)
        soft = cv2.blur(mask, (9, 5))
        x, y, w, h = cv2.boundingRect(soft)
        if not w:
            return
        area = np.s_[y : y + h, x : x + w]
        factor = cv2.merge([1 - soft[area].astype(np.float32) * (strength / 255)] * 3)
        self.photo[area] = cv2.multiply(self.photo[area], factor, dtype=cv2.CV_8U)

    def noise(self, cell: int) -> np.ndarray:
        """Draw smooth noise about 0 with lumps of ``cell`` pixels, (H, W) float32."""
        height, width = self.labels.shape
        coarse = self.rng.standard_normal((height // cell + 2, width // cell + 2), np.float32)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)

    def develop(self) -> None:
        """Turn flat paint into a photo: surface texture, light, exposure, blur, sensor noise."""
        rng, (height, width) = self.rng, self.labels.shape
        amounts = np.full((256, 2), _PLAIN, np.float32)
        for name, amount in _TEXTURE.items():
            amounts[INDEX[name]] = amount
        grain, lumps = (cv2.LUT(self.labels, amount) for amount in amounts.T.copy())
        light = grain * self.noise(2) + lumps * self.noise(9)
        light += 0.06 * self.noise(160) + 1
        sideways = np.linspace(-1, 1, width, dtype=np.float32) * rng.normal(0, 0.1)
        light *= 1 + sideways - 0.12 * np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        photo = cv2.multiply(self.photo, cv2.merge([light] * 3), dtype=cv2.CV_8U)

        level = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.3)
        level = 0.5 + (level - 0.5) * rng.uniform(0.7, 1.05)
        cast = rng.uniform(0.78, 1.15) * (1 + rng.normal(0, 0.035, 3)) * (0.98, 1.02, 0.97)
        curve = (255 * level * cast).clip(0, 255).astype(np.uint8)  # (256, 3)
        photo = cv2.LUT(photo, curve[:, None])
        photo = cv2.GaussianBlur(photo, (5, 5), rng.uniform(0.6, 1.3))
        sensor = np.frombuffer(rng.bytes(photo.size), np.uint8).reshape(photo.shape)
        strength = rng.uniform(0.03, 0.12)
        self.photo = cv2.addWeighted(photo, 1, sensor, strength, -127.5 * strength)
