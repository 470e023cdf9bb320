"""Roadside of synthetic streets: sky, houses, walls, fences, hedges, parks, bridges, tunnels.

Each part stands at ``x`` and reaches from ``z0`` to ``z1``, in metres, and includes what is visible
above or through it. ``light`` is the brightness of its side of the street.
"""

import numpy as np

from pspnet_plugin.toolkit.synthetic import street_objects as objects
from pspnet_plugin.toolkit.synthetic.canvas import INDEX, Canvas, Color

PLASTER = [(186, 172, 150), (160, 134, 112), (150, 150, 150), (200, 194, 180), (142, 98, 82)]
STONE = [(122, 112, 102), (138, 126, 112), (128, 96, 82), (112, 112, 114)]
FENCES = [(52, 66, 58), (148, 128, 104), (172, 172, 168), (96, 72, 52)]


def backdrop(canvas: Canvas, z: float) -> None:
    """Draw the sky, and at ``z`` a row of houses and trees that closes the street."""
    rng = canvas.rng
    width = canvas.labels.shape[1]
    zenith = canvas.paint([(205, 214, 224), (150, 185, 225), (226, 228, 230), (176, 192, 210)])
    haze = np.array((236, 238, 238))
    rows = int(canvas.horizon) + 1
    fade = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 1.5
    sky = (zenith + (haze - zenith) * fade).repeat(width, axis=1).astype(np.float32)
    sky += canvas.noise(70)[:rows, :, None] * np.float32(rng.uniform(4, 16))
    canvas.photo[:rows] = sky.clip(0, 255)
    canvas.labels[:] = INDEX['sky']
    for x in rng.uniform(-75, 75, 16):
        if canvas.chance(0.5):
            tall = rng.uniform(6, 16)
            canvas.front(x - 7, x + 7, 0, tall, z, canvas.paint(PLASTER), 'building')
        else:
            objects.bush(canvas, x, 3, z, rng.uniform(5, 9), rng.uniform(4, 9))


def house(canvas: Canvas, x: float, z0: float, z1: float, *, light: float) -> None:
    """Draw a house with windows, its gable towards the camera."""
    rng = canvas.rng
    floors, color = rng.integers(2, 6), np.array(canvas.paint(PLASTER, spread=10)) * light
    tall, out = 3.2 * floors + 0.8, np.sign(x)
    gable = canvas.paint(color * 0.8, spread=5)
    roof = canvas.paint([(98, 62, 52), (72, 72, 76)])
    end = [(0, 0), (0, tall), (out * 1.5, tall + 1.8), (out * 12, tall + 1.8), (out * 12, 0)]
    canvas.shape(end, x, z0, gable, 'building')
    canvas.side(x, 0, tall, z0, z1, canvas.paint(color, spread=5), 'building')
    canvas.side(x, tall, tall + 1.8, z0, z1, roof, 'building', lean=out * 1.5)
    canvas.side(x, 0, 0.7, z0, z1, canvas.paint(color * 0.7))
    wide = rng.uniform(1.0, 1.5)
    left_edges, sills = np.arange(z0 + 1, z1 - 1.6, wide + 1.1), 1.1 + 3.2 * np.arange(floors)
    columns, rows = np.meshgrid(left_edges, sills)
    dark = rng.random(columns.shape) < 0.75
    frame = canvas.paint(np.array([color * 1.25, color * 0.75, (225, 225, 220)]))
    canvas.side(x, rows - 0.12, rows + 1.82, columns - 0.12, columns + wide + 0.12, frame)
    for chosen, glass in ((dark, (52, 58, 66)), (~dark, (150, 165, 178))):
        if chosen.any():
            low, left = rows[chosen], columns[chosen]
            canvas.side(x, low, low + 1.7, left, left + wide, canvas.paint(glass))
    if canvas.chance(0.3):  # a shop board is labelled as static
        z = rng.uniform(z0, z1)
        board = canvas.paint([(180, 40, 40), (40, 70, 140), (35, 35, 38)])
        canvas.front(x, x - out * 1.1, 2.9, 4.1, z, board, 'unlabelled')


def wall(canvas: Canvas, x: float, z0: float, z1: float, *, light: float) -> None:
    """Draw a stone wall in courses, with trees behind."""
    rng = canvas.rng
    park(canvas, x + np.sign(x) * 2, z0, z1, light=light)
    tall, color = rng.uniform(1.8, 3.4), np.array(canvas.paint(STONE)) * light
    canvas.front(x, x + np.sign(x) * 0.4, 0, tall, z0, canvas.paint(color * 0.8), 'wall')
    canvas.side(x, 0, tall, z0, z1, canvas.paint(color, spread=4), 'wall')
    joint = canvas.paint([color * 0.7, color * 1.2], spread=4)
    y = np.arange(0.3, tall, 0.35)
    canvas.lines(canvas.project(x, y, z0), canvas.project(x, y, z1), joint, 1)
    z = np.arange(max(z0, 4), min(z1, 30), 0.9)
    for row, low in enumerate(y[:-1]):
        at = z + 0.45 * (row % 2)
        canvas.lines(canvas.project(x, low, at), canvas.project(x, low + 0.35, at), joint, 1)
    canvas.side(x, tall, tall + 0.15, z0, z1, canvas.paint(color * 1.2), 'wall')


def fence(canvas: Canvas, x: float, z0: float, z1: float, *, light: float) -> None:
    """Draw a fence, transparent in the photo and solid in the labels."""
    rng = canvas.rng
    if canvas.chance(0.5):
        house(canvas, x + np.sign(x) * 7, z0, z1, light=light)
    else:
        park(canvas, x + np.sign(x) * 2, z0, z1, light=light)
    tall, color = rng.uniform(1.4, 2.6), canvas.paint(FENCES)
    _bars(canvas, x, z0, z1, tall, rng.uniform(0.2, 0.34), color)


def railing(canvas: Canvas, x: float, z0: float, z1: float) -> None:
    """Draw a low fence along the kerb."""
    _bars(canvas, x, z0, z1, canvas.rng.uniform(0.9, 1.2), 0.25, canvas.paint(FENCES))


def _bars(
    canvas: Canvas, x: float, z0: float, z1: float, tall: float, gap: float, color: Color
) -> None:
    posts = np.arange(z0, z1, gap)
    canvas.side(x, 0, tall, z0, z1, None, 'fence')
    canvas.side(x, 0.05, tall, posts, posts + 0.55 * gap, color)
    for y in (0.25, 0.9 * tall):
        canvas.side(x, y, y + 0.1, z0, z1, color)


def hedge(canvas: Canvas, x: float, z0: float, z1: float, *, light: float) -> None:
    """Draw a clipped hedge, with trees behind."""
    park(canvas, x + np.sign(x) * 2, z0, z1, light=light)
    tall = canvas.rng.uniform(1.2, 2.4)
    color = np.array(canvas.paint(objects.LEAVES)) * light
    canvas.side(x, 0, tall, z0, z1, canvas.paint(color), 'vegetation')
    for z in np.arange(min(z1, 40), max(z0, 5), -1.5):
        objects.bush(canvas, x + np.sign(x) * 0.5, tall - 0.2, z, 0.9, 0.5)


def park(canvas: Canvas, x: float, z0: float, z1: float, *, light: float) -> None:
    """Draw trees and bushes on grass."""
    for z in np.arange(min(z1, 70), max(z0, 7), -canvas.rng.uniform(3, 6)):
        away = x + np.sign(x) * canvas.rng.uniform(1, 7)
        if canvas.chance(0.6):
            objects.tree(canvas, away, z)
        else:
            objects.bush(canvas, away, 1.0, z, canvas.rng.uniform(1, 2.5), 1.6)


def bridge(canvas: Canvas, left: float, right: float, z: float) -> None:
    """Draw a bridge across the street on two piers."""
    color = np.array(canvas.paint(STONE))
    canvas.front(-90, 90, 5.2, 7.4, z, canvas.paint(color), 'bridge')
    canvas.front(-90, 90, 7.4, 8.2, z, canvas.paint(color * 0.7), 'bridge')
    for x in (left, right - 1.5):
        canvas.front(x, x + 1.5, 0, 5.2, z, canvas.paint(color), 'bridge')


def tunnel(canvas: Canvas, left: float, right: float, z: float) -> None:
    """Draw a wall across the street with the dark mouth of a tunnel."""
    canvas.front(-90, 90, 0, 11, z, canvas.paint(STONE), 'wall')
    canvas.front(left, right, 0, 6, z, canvas.paint((38, 36, 34)), 'tunnel')
