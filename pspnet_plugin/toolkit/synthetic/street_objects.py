"""Objects of synthetic street scenes: people, cycles, poles, signs, trees, bins, rails.

Each function draws one object of natural size with its foot at ``x`` and ``z`` metres.
"""

import cv2
import numpy as np

from pspnet_plugin.toolkit.synthetic.canvas import INDEX, Canvas

CLOTHES = [(35, 36, 45), (60, 62, 70), (45, 55, 90), (110, 100, 90), (130, 50, 50), (170, 170, 165)]
TROUSERS = [(30, 32, 42), (45, 60, 95), (70, 65, 60), (25, 25, 28)]
SKIN = [(205, 160, 135), (170, 120, 95), (110, 75, 55)]
VESTS = [(225, 240, 60), (245, 120, 40), (235, 70, 60)]
LEAVES = [(62, 92, 42), (84, 108, 46), (52, 76, 46), (112, 112, 50)]
METAL = [(118, 122, 124), (88, 94, 98), (140, 144, 142)]
DARK, TYRE = (24, 25, 28), (22, 22, 24)


def person(canvas: Canvas, x: float, z: float) -> None:
    """Draw a pedestrian in muted clothes, from any side."""
    rng, tall = canvas.rng, canvas.rng.uniform(1.5, 1.9)
    coat, legs = canvas.paint(CLOTHES), canvas.paint(TROUSERS, spread=8)
    stride, wide = rng.uniform(0.02, 0.2) * tall, rng.uniform(0.1, 0.14) * tall
    for foot in (-stride, stride):
        leg = [(-0.01, 0.5), (foot - 0.05, 0.0), (foot + 0.07, 0.0), (0.09, 0.5)]
        points = np.array(leg) * (1, tall) - (0.04, 0)
        canvas.shape(points, x, z, legs, 'person')
    low = rng.choice((0.32, 0.45))
    torso = np.array([(-0.95, low), (-1.1, 0.78), (-0.6, 0.85), (0.6, 0.85), (1.1, 0.78), (1, low)])
    canvas.shape(torso * (wide, tall), x, z, coat, 'person')
    swing = rng.uniform(-0.25, 0.25)
    for hand, shoulder in ((swing, wide), (-swing, -wide)):
        arm = [(shoulder, 0.79 * tall), (shoulder * 1.3 + hand, 0.46 * tall)]
        canvas.stroke(arm, x, z, 0.1, canvas.paint([coat], spread=6), 'person')
    if canvas.chance(0.3):
        canvas.front(x + wide, x + wide + 0.25, 0.3, 0.7, z, canvas.paint(CLOTHES), 'person')
    canvas.disc(x, 0.93 * tall, z, 0.1, 0.13, canvas.paint(SKIN), 'person')
    hair = canvas.paint([(30, 25, 22), (90, 65, 40), (150, 130, 95)])
    canvas.disc(x, 0.965 * tall, z, 0.1, 0.08, hair, 'person')


def cycle(canvas: Canvas, x: float, z: float, kind: str, *, ridden: bool) -> None:
    """Draw a ``'bicycle'`` or ``'motorcycle'``, parked or with a rider, at any angle."""
    rng = canvas.rng
    view = rng.uniform(0.35, 1.0) * rng.choice((-1, 1))  # signed share of its visible length
    motor = kind == 'motorcycle'
    radius, base, width = (0.31, 0.68, 0.34) if motor else (0.35, 0.54, 0.1)
    paints = [(170, 30, 35), (40, 70, 160), (30, 32, 36), (225, 225, 220), (40, 120, 80)]
    body, rim = canvas.paint(paints, spread=18), canvas.paint([TYRE], spread=5)
    across = max(radius * abs(view), width / 2)
    for end in (-base * view, base * view):
        canvas.disc(x + end, radius, z, across, radius, None, kind)
        canvas.disc(x + end, radius, z, across, radius, rim, ring=0.13 if motor else 0.06)
    along = np.array((view, 1.0))
    if motor:
        low = [(-0.75, 0.62), (-0.2, 0.25), (0.4, 0.25), (0.7, 0.62), (0.35, 1.0), (-0.8, 0.85)]
        hull = np.array(low) * along
        hull[:, 0] += np.sign(hull[:, 0]) * 0.14  # from its end it keeps its width
        canvas.shape(hull, x, z, rim, kind)
        tank = np.array([(-0.3, 0.68), (0.5, 0.62), (0.45, 1.02), (0.0, 0.9), (-0.7, 0.88)])
        canvas.shape(tank * (abs(view) * 0.8 + 0.2, 1), x, z, body, kind)
        canvas.disc(x + 0.55 * view, 0.88, z, 0.1, 0.1, (250, 245, 215), kind)
    else:
        frame = [(-base, radius), (-0.15, 0.32), (0.35, 0.75), (-0.22, 0.78), (-0.15, 0.32)]
        canvas.shape(np.array([*frame[:2], frame[2], frame[3]]) * along, x, z, None, kind)
        canvas.stroke(np.array(frame) * along, x, z, 0.055, body, kind)
        canvas.stroke(np.array([(base, radius), (0.38, 1.02)]) * along, x, z, 0.055, body, kind)
        saddle = [(-0.3 * view - 0.1, 0.92), (-0.2 * view + 0.1, 0.92)]
        canvas.stroke(saddle, x, z, 0.07, DARK, kind)
    bar = 0.38 * view
    canvas.stroke([(bar - 0.24, 1.06), (bar + 0.24, 1.06)], x, z, 0.06, DARK, kind)
    if ridden:
        _rider(canvas, x, z, view, motor)


def _rider(canvas: Canvas, x: float, z: float, view: float, motor: bool) -> None:
    vest, legs = canvas.paint(VESTS, spread=16), canvas.paint(TROUSERS, spread=8)
    seat = 0.86 if motor else 0.98
    for knee, foot in ((0.3, 0.28), (0.12, 0.42)):
        bent = np.array([(-0.2, seat), (knee, seat - 0.28), (0.05, foot)]) * (view, 1)
        offset = 0.13 if foot < 0.4 else -0.13
        canvas.stroke(bent + (offset, 0), x, z, 0.15, legs, 'rider')
    back = np.array([(-0.36, seat - 0.1), (-0.24, seat + 0.45), (0.1, seat + 0.58), (0.1, seat)])
    back = back * (view, 1) + np.array([(-0.17, 0), (-0.2, 0), (0.2, 0), (0.17, 0)]) * np.sign(view)
    canvas.shape(back, x, z, vest, 'rider')
    arm = np.array([(0.05, seat + 0.5), (0.22, seat + 0.22), (0.4, 1.08)]) * (view, 1)
    for offset in (-0.19, 0.19):
        canvas.stroke(arm + (offset, 0), x, z, 0.1, vest, 'rider')
    head = x + 0.08 * view
    canvas.disc(head, seat + 0.7, z, 0.11, 0.14, canvas.paint(SKIN), 'rider')
    helmet = canvas.paint([(240, 240, 240), (230, 60, 50), (250, 220, 60)])
    canvas.disc(head, seat + 0.78, z, 0.14, 0.15 if motor else 0.1, helmet, 'rider')


def pole(canvas: Canvas, x: float, z: float, kind: str) -> None:
    """Draw a ``'lamp'``, ``'bollard'``, ``'sign'`` or ``'light'`` (traffic light) on its pole."""
    rng, metal = canvas.rng, canvas.paint(METAL)
    tall = {'lamp': rng.uniform(6, 9), 'bollard': 1.0, 'sign': rng.uniform(2.6, 3.4)}
    top = tall.get(kind, rng.uniform(3.2, 4.2))
    inward = -np.sign(x)
    canvas.stroke([(0, 0), (0, top)], x, z, rng.uniform(0.13, 0.2), metal, 'pole')
    if kind == 'lamp':
        canvas.stroke([(0, top), (1.8 * inward, top + 0.3)], x, z, 0.1, metal, 'pole')
    elif kind == 'sign':
        for row in range(rng.integers(1, 3)):
            _sign(canvas, x, top - 0.85 * row, z)
    elif kind == 'light':
        if canvas.chance(0.5):
            reach = inward * rng.uniform(2.0, 3.5)
            canvas.stroke([(0, top - 0.6), (0, 5.6), (reach, 5.6)], x, z, 0.14, metal, 'pole')
            _light(canvas, x + reach, 5.5, z)
        _light(canvas, x, top - 0.5, z)


def _light(canvas: Canvas, x: float, y: float, z: float) -> None:
    canvas.front(x - 0.24, x + 0.24, y - 0.6, y + 0.6, z, (20, 26, 24), 'traffic light')
    lit = canvas.rng.integers(3)
    for row, color in enumerate(((250, 60, 45), (250, 185, 50), (60, 240, 150))):
        red, green, blue = color if row == lit else np.array(color) // 4
        shown = int(red), int(green), int(blue)
        canvas.disc(x, y + 0.38 - 0.38 * row, z, 0.16, 0.16, shown)


def _sign(canvas: Canvas, x: float, y: float, z: float) -> None:
    rng, size = canvas.rng, canvas.rng.uniform(0.3, 0.4)
    red, blue, white = canvas.paint((205, 35, 40)), canvas.paint((35, 80, 180)), (235, 235, 230)
    kind = rng.integers(4)
    if kind == 0:
        canvas.disc(x, y, z, size, size, red, 'traffic sign')
        canvas.disc(x, y, z, 0.68 * size, 0.68 * size, white)
    elif kind == 1:
        canvas.disc(x, y, z, size, size, blue, 'traffic sign')
        canvas.front(x - 0.08, x + 0.08, y - 0.2, y + 0.2, z, white)
    elif kind == 2:
        triangle = np.array([(-1.1, -0.8), (0, 1.1), (1.1, -0.8)])
        canvas.shape(triangle * size + (0, y), x, z, red, 'traffic sign')
        canvas.shape(triangle * 0.55 * size + (0, y), x, z, white)
    else:
        wide = rng.uniform(0.4, 1.0)
        plate = canvas.paint([(240, 200, 40), (35, 80, 180), (230, 205, 60)])
        canvas.front(x - wide, x + wide, y - 0.4, y + 0.4, z, plate, 'traffic sign')
        canvas.front(x - 0.7 * wide, x + 0.7 * wide, y - 0.06, y + 0.12, z, white)


def tree(canvas: Canvas, x: float, z: float) -> None:
    """Draw a trunk and a ragged crown with lighter and darker boughs."""
    rng = canvas.rng
    stem, radius = rng.uniform(2.2, 3.4), rng.uniform(1.6, 3.0)
    bark = canvas.paint([(75, 62, 50), (95, 85, 72)])
    canvas.stroke([(0, 0), (0, stem + 1)], x, z, rng.uniform(0.25, 0.45), bark, 'vegetation')
    bush(canvas, x, stem + 0.9 * radius, z, radius * rng.uniform(0.9, 1.3), radius)


def bush(canvas: Canvas, x: float, y: float, z: float, rx: float, ry: float) -> None:
    """Draw a ragged mass of leaves around a point."""
    rng, color = canvas.rng, canvas.paint(LEAVES, spread=9)
    turn = np.linspace(0, 2 * np.pi, 41)[:-1]
    rim = 1 + 0.12 * np.sin(3 * turn + rng.uniform(0, 6)) + rng.uniform(-0.16, 0.16, 40)
    outline = np.stack((rx * rim * np.cos(turn), y + ry * rim * np.sin(turn)), axis=1)
    canvas.shape(outline, x, z, color, 'vegetation')
    count = 9 if z < 40 else 4
    far, way = 0.72 * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    side, up, size = rx * far * np.cos(way), far * np.sin(way), rng.uniform(0.15, 0.3, count)
    levels = np.array(color) * (1 + 0.3 * up + rng.normal(0, 0.08, count))[:, None]
    leaves = levels.clip(4, 252).astype(int).tolist()
    for dx, dy, share, leaf in zip(side, ry * up, size, leaves, strict=True):
        canvas.disc(x + dx, y + dy, z, share * rx, share * ry, leaf)


def dustbin(canvas: Canvas, x: float, z: float) -> None:
    """Draw a bin on its day of collection, which is labelled as dynamic."""
    color = canvas.paint([(60, 90, 60), (80, 70, 60), (60, 80, 120), (170, 140, 40)])
    canvas.shape([(-0.27, 0), (-0.33, 1.0), (0.33, 1.0), (0.27, 0)], x, z, color, 'dynamic')
    lid = canvas.paint([np.array(color) * 0.7])
    canvas.front(x - 0.36, x + 0.36, 0.98, 1.1, z, lid, 'dynamic')


def guard_rail(canvas: Canvas, x: float, z: float) -> None:
    """Draw a steel rail on posts along the road, from ``z`` on."""
    posts = np.arange(z, 40, 2.0)
    canvas.side(x, 0, 0.5, posts, posts + 0.12, canvas.paint((110, 112, 114)), 'guard rail')
    canvas.side(x, 0.42, 0.78, z, 60, canvas.paint((158, 162, 165)), 'guard rail')
    canvas.side(x, 0.58, 0.62, z, 60, (100, 102, 105))


def ego_vehicle(canvas: Canvas) -> None:
    """Draw the camera car's bonnet with its star, and the black rim of image rectification."""
    rng, (height, width) = canvas.rng, canvas.labels.shape
    if canvas.chance(0.8):
        turn = np.linspace(0, np.pi, 60)
        rise, middle = height * rng.uniform(0.05, 0.11), width * rng.uniform(0.5, 0.6)
        arc = (middle + 0.62 * width * np.cos(turn), height - rise * np.sin(turn) ** 0.8)
        canvas.fill(np.stack(arc, -1).astype(np.int32), canvas.paint((46, 52, 54)), 'unlabelled')
        y = height - rise * 0.6
        shine = (middle + 0.45 * width * np.cos(turn), y - rise * 0.2 * np.sin(turn))
        canvas.fill(np.stack(shine, -1).astype(np.int32), canvas.paint((70, 78, 80)), None)
        top = (int(middle), int(height - rise - 22))
        cv2.ellipse(canvas.labels, top, (26, 26), 0, 0, 360, INDEX['unlabelled'], -1)
        cv2.ellipse(canvas.photo, top, (20, 22), 0, 0, 360, (175, 178, 180), 3)
        for end in ((0, -22), (-17, 13), (17, 13)):
            cv2.line(canvas.photo, top, (top[0] + end[0], top[1] + end[1]), (175, 178, 180), 3)
    if canvas.chance(0.6):
        canvas.labels[:4] = canvas.labels[-4:] = INDEX['unlabelled']
        canvas.labels[:, :5] = canvas.labels[:, -5:] = INDEX['unlabelled']
