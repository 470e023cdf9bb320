"""Vehicles of synthetic street scenes, from cars to trams.

``x`` is the middle of a vehicle and ``z`` its near end, in metres. The end that faces the camera
and the flank on the camera's side are visible.
"""

from collections.abc import Sequence

import numpy as np

from pspnet_plugin.toolkit.synthetic.canvas import Canvas

CARS = [(28, 28, 32), (150, 153, 158), (215, 216, 218), (95, 98, 104), (40, 55, 110), (140, 30, 35)]
BUSES = [(235, 190, 40), (225, 150, 40), (200, 205, 60)]
TRAMS = [(175, 35, 45), (30, 115, 70)]
CARGO = [(222, 224, 226), (60, 95, 165), (150, 160, 170), (95, 130, 110)]
DARK, GLASS, TYRE = (24, 25, 28), (48, 58, 68), (22, 22, 24)


def car(canvas: Canvas, x: float, z: float, *, oncoming: bool) -> None:
    """Draw a car from behind or, if ``oncoming``, from the front."""
    rng, length = canvas.rng, 4.3
    half, tall = rng.uniform(0.85, 0.95), rng.uniform(1.42, 1.75)
    belt, clear = 0.58 * tall, 0.24
    color = canvas.paint(CARS, spread=14)
    flank, glass = canvas.paint([np.array(color) * 0.75], spread=4), canvas.paint([GLASS])
    inner, lean = x - np.sign(x) * half, np.sign(x) * 0.2  # the visible flank
    near, far = (z + 1.1, z + 3.9) if oncoming else (z + 0.25, z + 3.1)
    _shadow(canvas, x, half, z, length)
    _wheels(canvas, inner, (z + 0.8, z + 3.5), 0.33, 'car')
    canvas.side(inner, clear, belt, z, z + length, flank, 'car')
    _wheels(canvas, inner, (z + 0.8, z + 3.5), 0.31, 'car')
    canvas.side(inner, belt, tall, near, far, flank, 'car', lean=lean)
    pane = inner + lean * 0.15
    canvas.side(pane, belt + 0.04, tall - 0.1, near + 0.2, far - 0.2, glass, lean=lean)
    cabin = [(-0.97, belt), (-0.76, 0.96 * tall), (-0.7, tall)]
    canvas.shape(_mirror(cabin, half), x, near, color, 'car')
    canvas.shape(_mirror([(-0.84, belt + 0.05), (-0.68, 0.92 * tall)], half), x, near, glass)
    tyres = x + np.array((-0.9, 0.55)) * half
    canvas.front(tyres, tyres + 0.35 * half, 0, 0.45, z, TYRE, 'car')
    if oncoming:  # the bonnet, level between bumper and windscreen
        canvas.flat(x - half, x + half, z, near, color, 'car', y=belt)
    hull = [(-0.93, clear), (-1, 0.4), (-1, 0.5 * tall), (-0.93, belt + 0.03)]
    canvas.shape(_mirror(hull, half), x, z, color, 'car')
    bumper = canvas.paint(np.array([np.array(color) * 0.6, DARK]), spread=5)
    canvas.shape(_mirror([(-0.92, clear), (-0.98, 0.45)], half), x, z, bumper)
    lamp = (252, 250, 225) if oncoming else (215, 25, 30)
    outer = x + np.array((-0.97, 0.62)) * half
    canvas.front(outer, outer + 0.35 * half, 0.38 * tall, 0.5 * tall, z, lamp)
    canvas.front(x - 0.26, x + 0.26, 0.42, 0.54, z, (230, 230, 215))


def long_vehicle(canvas: Canvas, x: float, z: float, kind: str, *, oncoming: bool) -> None:
    """Draw a truck, bus, train (a tram), caravan or trailer."""
    half, tall, low, length = {
        'truck': (1.25, canvas.rng.uniform(3.1, 3.8), 0.95, canvas.rng.uniform(7, 10)),
        'bus': (1.27, canvas.rng.uniform(2.9, 3.3), 0.32, 11.5),
        'train': (1.3, canvas.rng.uniform(3.4, 3.7), 0.25, canvas.rng.uniform(20, 32)),
        'caravan': (1.1, 2.6, 0.45, 5.0),
        'trailer': (0.95, canvas.rng.uniform(1.7, 2.2), 0.5, 3.4),
    }[kind]
    trailer = [(70, 80, 95), (60, 85, 125), (105, 108, 105)]
    paints = dict(truck=CARGO, bus=BUSES, train=TRAMS, caravan=[(232, 230, 222)], trailer=trailer)
    color = canvas.paint(paints[kind], spread=14)
    flank = canvas.paint([np.array(color) * 0.78], spread=4)
    inner, end = x - np.sign(x) * half, z + length
    start = z + 2.2 if kind == 'truck' and oncoming else z
    _shadow(canvas, x, half, z, length)
    canvas.side(inner, 0.3, low + 0.1, z + 0.2, end - 0.2, DARK, kind)
    canvas.side(inner, low, tall, start, end, flank, kind)
    if kind != 'train':
        shares = (0.14, 0.7, 0.85) if kind == 'truck' else (0.2, 0.8)
        wheels = [z + length * share for share in shares]
        _wheels(canvas, inner, wheels, 0.33 if kind in ('caravan', 'trailer') else 0.5, kind)
        for tyre in (x - half, x + half - 0.4):
            canvas.front(tyre, tyre + 0.4, 0, low + 0.2, z, TYRE, kind)
    shell = [(-1, low), (-1, tall - 0.3), (-0.9 if kind != 'train' else -0.72, tall)]
    canvas.shape(_mirror(shell, half), x, start, color, kind)
    if kind == 'truck':
        _truck_parts(canvas, x, z, half, tall, low, oncoming)
        ribs = np.arange(start + 0.8, end, 0.8)
        canvas.side(inner, low, tall, ribs, ribs + 0.1, canvas.paint([np.array(flank) * 0.85]))
    elif kind in ('bus', 'train'):
        _coach_parts(canvas, x, z, half, tall, end, kind, oncoming)
    elif kind == 'caravan':
        canvas.front(x - 0.75 * half, x + 0.75 * half, 1.3, 2.1, z, canvas.paint([GLASS]))
        canvas.front(x - half, x + half, 0.85, 1.0, z, canvas.paint([(120, 90, 60), (60, 90, 130)]))
        canvas.side(inner, 1.35, 2.05, z + 1, z + 2.4, canvas.paint([GLASS]))
    else:
        for lamp in (x - 0.8, x + 0.6):
            canvas.front(lamp, lamp + 0.2, 0.55, 0.75, z, (220, 40, 30))
        canvas.front(x - half, x + half, 0.8, 0.9, z, DARK)


def _truck_parts(
    canvas: Canvas, x: float, z: float, half: float, tall: float, low: float, oncoming: bool
) -> None:
    if oncoming:
        cab = canvas.paint([(200, 60, 50), (235, 235, 235), (60, 90, 170), (70, 140, 90)])
        inner = x - np.sign(x) * half
        canvas.side(inner, 0.4, 2.9, z, z + 2.1, canvas.paint([np.array(cab) * 0.75]), 'truck')
        canvas.side(inner, 1.7, 2.5, z + 0.4, z + 1.4, GLASS)
        canvas.front(x - half, x + half, 0.35, 2.9, z, cab, 'truck')
        canvas.front(x - 0.9 * half, x + 0.9 * half, 1.65, 2.55, z, canvas.paint([GLASS]))
        canvas.front(x - 0.6 * half, x + 0.6 * half, 0.75, 1.4, z, DARK)
        lamps, lamp = 0.5, (250, 245, 220)
    else:
        canvas.front(x - half, x + half, 0.5, low, z, DARK, 'truck')
        canvas.front(x - 0.03, x + 0.03, low, tall, z, (90, 90, 92))
        bars = x + np.linspace(-half, half - 0.3, 6)
        canvas.front(bars, bars + 0.2, low - 0.18, low, z, (215, 40, 40))
        lamps, lamp = 0.6, (220, 30, 30)
    outer = x + np.array((-half, half - 0.3))
    canvas.front(outer, outer + 0.3, lamps, lamps + 0.2, z, lamp)


def _coach_parts(
    canvas: Canvas, x: float, z: float, half: float, tall: float, end: float, kind: str,
    oncoming: bool,
) -> None:  # fmt: skip
    inner = x - np.sign(x) * half
    if kind == 'train':
        cream = canvas.paint([(225, 220, 200), (235, 235, 230)])
        canvas.side(inner, 0.5 * tall, tall - 0.3, z, end, cream)
        canvas.front(x - half, x + half, 0.78 * tall, tall - 0.3, z, cream)
        canvas.stroke([(-0.5, tall), (0, tall + 0.9), (0.5, tall)], x, z + 4, 0.06, DARK, 'train')
    glass = canvas.paint([GLASS], spread=6)
    panes = np.arange(z + 0.5, end - 1.0, 1.6)
    canvas.side(inner, 0.46 * tall, 0.76 * tall, panes, panes + 1.4, glass)
    bottom = 0.3 if oncoming or kind == 'train' else 0.5
    canvas.front(x - 0.92 * half, x + 0.92 * half, bottom * tall, 0.8 * tall, z, glass)
    canvas.front(x - 0.7 * half, x + 0.7 * half, 0.85 * tall, 0.94 * tall, z, DARK)
    canvas.front(x - 0.5 * half, x + 0.5 * half, 0.87 * tall, 0.92 * tall, z, (250, 170, 50))
    outer = x + np.array((-0.95 * half, 0.7 * half))
    lamp = (250, 245, 225) if oncoming else (215, 30, 30)
    canvas.front(outer, outer + 0.25 * half, 0.6, 0.85, z, lamp)


def _mirror(left: list[tuple[float, float]], half: float) -> np.ndarray:
    """Complete a symmetric outline from its left side, given in shares of half the width."""
    points = np.array(left) * (half, 1)
    return np.concatenate((points, points[::-1] * (-1, 1)))


def _shadow(canvas: Canvas, x: float, half: float, z: float, length: float) -> None:
    canvas.flat(x - half - 0.15, x + half + 0.15, z - 0.35, z + length, (34, 34, 37))


def _wheels(canvas: Canvas, x: float, at: Sequence[float], radius: float, label: str) -> None:
    turn = np.linspace(0, 2 * np.pi, 13)[:-1]
    for middle in at:
        for size, color in ((radius, TYRE), (0.55 * radius, (130, 132, 135))):
            rim = canvas.project(x, radius + size * np.sin(turn), middle + size * np.cos(turn))
            canvas.fill(rim, color, label)
