"""Generated label maps of streets and other scenes, to measure label decoding.

Each has thin and crowded objects and a palette of its own, and is four times as large as the label
image that is rendered from it.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from pspnet_plugin.toolkit.synthetic.canvas import INDEX, NUM_CLASSES, PALETTE
from pspnet_plugin.toolkit.synthetic.street import street_scene

SIDE = 1024
CROWD = ('person', 'rider', 'bicycle', 'pole', 'traffic sign', 'traffic light', 'car', 'dynamic')
FACADE_COLORS = [
    (0, 0, 255), (0, 85, 255), (0, 170, 255), (255, 85, 0), (85, 255, 170), (170, 255, 85),
    (255, 255, 0), (170, 0, 0), (0, 0, 170),
]  # fmt: skip
PLAN_COLORS = [
    (242, 239, 233), (255, 255, 255), (170, 211, 223), (200, 250, 204), (248, 195, 99),
    (217, 208, 201), (120, 120, 200),
]  # fmt: skip


class LabelScene(NamedTuple):
    """Label map to be rendered as a label image."""

    labels: np.ndarray  # (H, W) uint8, indices into the palette
    palette: np.ndarray  # (K, 3) uint8 RGB; colours behind those of the classes are void
    classes: int
    thin: tuple[int, ...]  # classes that are often narrower than a pixel of the shrunk image


def street(rng: np.random.Generator) -> LabelScene:
    """Draw a street in the colours of Cityscapes, see ``street_scene``."""
    thin = tuple(INDEX[n] for n in ('pole', 'traffic light', 'traffic sign', 'person', 'rider'))
    return LabelScene(street_scene(rng)[1], PALETTE, NUM_CLASSES, thin)


def crowd(rng: np.random.Generator) -> LabelScene:
    """Draw overlapping persons, cycles, poles and signs in the colours of Cityscapes."""
    labels = np.full((SIDE, SIDE), INDEX['building'], np.uint8)
    labels[: rng.integers(100, 400)] = INDEX['sky']
    labels[rng.integers(500, 800) :] = INDEX[rng.choice(['road', 'sidewalk', 'terrain'])]
    for _ in range(120):
        x, y = (int(v) for v in rng.integers(0, SIDE, 2))
        kind = rng.choice(CROWD)
        tall, label = int(rng.integers(12, 140)), INDEX[kind]
        if kind == 'pole':
            end = (x + int(rng.integers(-9, 9)), y + 2 * tall)
            cv2.line(labels, (x, y), end, label, int(rng.integers(2, 9)))
        elif kind.startswith('traffic'):
            half = int(rng.integers(3, 16))
            cv2.rectangle(labels, (x - half, y - half), (x + half, y + 2 * half), label, -1)
        elif kind == 'bicycle':
            cv2.ellipse(labels, (x, y), (tall // 3 + 2, tall // 4 + 2), 0, 0, 360, label, 5)
        else:
            wide = tall // (1 if kind == 'car' else 4) + 2
            cv2.ellipse(labels, (x, y), (wide, tall), 0, 0, 360, label, -1)
    thin = tuple(INDEX[n] for n in ('pole', 'traffic light', 'traffic sign', 'rider', 'bicycle'))
    return LabelScene(labels, PALETTE, NUM_CLASSES, thin)


def facade(rng: np.random.Generator) -> LabelScene:
    """Draw a house front: windows in rows, mouldings and blinds as thin bands."""
    wall, window, door, cornice, sill, balcony, blind, shop, ground = range(9)
    labels = np.full((SIDE, SIDE), wall, np.uint8)
    floors, columns = rng.integers(4, 9), rng.integers(4, 12)
    tall, wide = SIDE / floors, SIDE / columns
    for floor in range(floors):
        top = round(floor * tall)
        labels[top : top + int(rng.integers(2, 10))] = cornice
        for column in range(columns):
            y0, y1 = (round(top + tall * share) for share in (rng.uniform(0.2, 0.3), 0.8))
            x0, x1 = (round((column + share) * wide) for share in (0.25, rng.uniform(0.6, 0.8)))
            labels[y0:y1, x0:x1] = window
            labels[y1 : y1 + int(rng.integers(2, 8)), x0 - 8 : x1 + 8] = sill
            if rng.random() < 0.4:
                labels[y0:y1, x0 - int(rng.integers(2, 12)) : x0] = blind
            if rng.random() < 0.2:
                labels[y1 - 20 : y1 + 10, x0 - 12 : x1 + 12] = balcony
    labels[round((floors - 1) * tall) :, : SIDE // 3] = shop
    labels[round((floors - 0.7) * tall) :, SIDE // 2 : SIDE // 2 + 60] = door
    labels[-int(rng.integers(20, 60)) :] = ground
    palette = np.array(FACADE_COLORS, np.uint8)
    return LabelScene(labels, palette, ground, (cornice, sill, blind))


def plan(rng: np.random.Generator) -> LabelScene:
    """Draw a town from above: blocks, water, and roads down to two pixels."""
    land, road, water, park, highway, house, rail = range(7)
    labels = np.full((SIDE, SIDE), land, np.uint8)
    for kind in (park, water, park, water, house):
        points = rng.integers(0, SIDE, (5, 2)).astype(np.int32)
        cv2.fillConvexPoly(labels, cv2.convexHull(points), kind)
    for _ in range(90):
        corner, size = rng.integers(0, SIDE, 2), rng.uniform(10, 50, 2)
        box = cv2.boxPoints((corner.tolist(), size.tolist(), float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(labels, np.rint(box).astype(np.int32), house)
    for kind, count, widest in ((road, 14, 14), (highway, 3, 24), (rail, 2, 6)):
        for _ in range(count):
            start, end = rng.integers(-100, SIDE + 100, (2, 2)).tolist()
            cv2.line(labels, start, end, kind, int(rng.integers(2, widest)))
    return LabelScene(labels, np.array(PLAN_COLORS, np.uint8), 7, (road, rail))


SCENES: dict[str, Callable[[np.random.Generator], LabelScene]] = dict(
    street=street, crowd=crowd, facade=facade, plan=plan
)
