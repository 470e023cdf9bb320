"""Synthetic street scenes and the pairs made of them, a stand-in for Cityscapes pairs.

A scene is a straight street in perspective. A few scenes hold every train class, some dozens every
void colour. They serve to test a whole training without a dataset; scores on them say nothing about
real streets.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.synthetic import roadside, vehicles
from pspnet_plugin.toolkit.synthetic import street_objects as objects
from pspnet_plugin.toolkit.synthetic.canvas import NUM_CLASSES, PALETTE, Canvas, Color
from pspnet_plugin.utils.resizing import largest_share

# Recorded beside the pairs; raise it with any change that alters a pixel.
GENERATOR_VERSION = 1
PAIR_SIZE = (256, 256)  # of each half
NEAR, FAR = 2.5, 140.0

LANE = 3.4
GROUND_PAINT = {
    'road': [(92, 92, 96), (108, 106, 106), (78, 79, 84)],
    'sidewalk': [(150, 143, 138), (136, 132, 132), (160, 150, 140)],
    'terrain': [(112, 128, 72), (128, 126, 84), (98, 122, 66)],
    'parking': [(118, 104, 98), (128, 118, 110)],
    'ground': [(150, 132, 108), (136, 126, 112)],
    'rail track': [(104, 92, 84), (96, 96, 84)],
}
POLES, POLE_SHARES = ('lamp', 'sign', 'light'), (0.3, 0.4, 0.3)
MARGINS: tuple[Callable[..., None], ...] = (
    roadside.house, roadside.wall, roadside.fence, roadside.hedge, roadside.park,
)  # fmt: skip
MARGIN_SHARES = (0.38, 0.19, 0.24, 0.08, 0.11)
KINDS, KIND_SHARES = ('car', 'truck', 'bus'), (0.9, 0.06, 0.04)
PARKED, PARKED_SHARES = ('car', 'caravan', 'trailer', 'gap'), (0.6, 0.11, 0.11, 0.18)
LENGTHS = {'car': 4.3, 'truck': 10, 'bus': 11.5, 'train': 32, 'caravan': 5, 'trailer': 3.4}


def street_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a photo, (512, 1024, 3) uint8 RGB, and its labels, (512, 1024) uint8.

    Labels are indices into ``PALETTE``. The same state of ``rng`` gives the same bytes.
    """
    canvas = Canvas(rng)
    roadside.backdrop(canvas, FAR)
    _Street(canvas).draw()
    if canvas.chance(0.5):
        canvas.photo = np.ascontiguousarray(canvas.photo[:, ::-1])
        canvas.labels = np.ascontiguousarray(canvas.labels[:, ::-1])
    objects.ego_vehicle(canvas)
    canvas.develop()
    return canvas.photo, canvas.labels


def render_pair(photo: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a scene to a pair, as real pairs were: label colours blend along every edge.

    Returns the pair, (256, 512, 3) uint8 BGR, photo left and labels right; and the truth, (256,
    256) uint8: the class with the largest share of each pixel's area, 255 where it is void.
    """
    halves = [
        cv2.resize(half, PAIR_SIZE, interpolation=cv2.INTER_AREA)
        for half in (photo, PALETTE[labels])
    ]
    truth = largest_share(labels, PAIR_SIZE)
    truth[truth >= NUM_CLASSES] = IGNORE_INDEX
    return cv2.cvtColor(np.hstack(halves), cv2.COLOR_RGB2BGR), truth


class _Street:
    """Plan of a street: strips along it, and a queue of the objects that stand on them.

    From the own lane, a strip hides everything on strips farther out, however near that is; on one
    strip the nearer object hides the farther. This is the order of the queue.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.rng = canvas, canvas.rng
        self.queue: list[tuple[float, float, Callable[[], None]]] = []
        chance, rng = canvas.chance, canvas.rng
        self.oncoming = [-LANE * (lane + 1) for lane in range(rng.integers(1, 3))]
        self.ahead = [0.0, LANE] if chance(0.3) else [0.0]
        self.sides = [(sign, self._strips(sign)) for sign in (-1, 1)]
        self.crossing = rng.uniform(16, 34) if chance(0.35) else None
        self.overhead = rng.uniform(38, 70) if chance(0.5) else None

    def draw(self) -> None:
        """Draw the ground, then the margins, then the objects from far to near."""
        self._ground()
        self._margins()
        self._traffic()
        for sign, strips in self.sides:
            self._pavement(sign, strips)
        for *_, draw in sorted(self.queue, key=lambda entry: entry[:2]):
            draw()

    def _strips(self, sign: int) -> dict[str, float]:
        """Plan the strips of a side as {name: outer edge}, metres from the own lane's middle."""
        chance, rng = self.canvas.chance, self.rng
        lanes = self.oncoming if sign < 0 else self.ahead
        edge = LANE / 2 + max(abs(lane) for lane in lanes) + 0.3
        strips = {'road': edge}
        if chance(0.6 if sign < 0 else 0.12):
            strips['rail track'] = edge = edge + 3.0
        if chance(0.4):
            strips['parking'] = edge = edge + 2.3
        verge = rng.random()
        if verge < 0.25:
            strips['terrain'] = edge = edge + rng.uniform(1.2, 2.5)
        strips['sidewalk'] = edge = edge + rng.uniform(2.0, 4.2)
        if verge > 0.65:
            strips['terrain'] = edge = edge + rng.uniform(1.5, 5.0)
        elif chance(0.45):
            strips['ground'] = edge = edge + rng.uniform(1.5, 3.0)
        strips['end'] = edge
        return strips

    def _later(self, strip: float, z: float, draw: Callable, *args: Any, **options: Any) -> None:
        """Queue ``draw(canvas, ...)`` of an object on a strip that begins so far out."""
        if not self.overhead or z < self.overhead:
            self.queue.append((-strip, -z, partial(draw, self.canvas, *args, **options)))

    def _ground(self) -> None:
        """Draw all that lies flat: strips, kerbs, markings, and shadows on them."""
        canvas, rng = self.canvas, self.rng
        paint = {name: canvas.paint(colors) for name, colors in GROUND_PAINT.items()}
        canvas.flat(-400, 400, NEAR, FAR * 3, paint['terrain'], 'terrain')
        for sign, strips in self.sides:
            inner = 0.0
            for name, outer in strips.items():
                if name == 'end':
                    break
                canvas.flat(sign * inner, sign * outer, NEAR, FAR, paint[name], name)
                if name == 'sidewalk':
                    self._paving(sign * inner, sign * outer, paint[name])
                elif name == 'rail track':
                    rails = sign * (inner + np.array((0.75, 2.2)))
                    canvas.flat(rails, rails + 0.12, NEAR, FAR, (185, 180, 172))
                inner = outer
        (_, left), (_, right) = self.sides
        white = canvas.paint((215, 215, 210))
        if self.crossing:
            canvas.flat(-60, 60, self.crossing, self.crossing + 8, paint['road'], 'road')
            stripes = np.arange(-left['road'], right['road'] - 0.5, 1.0)
            canvas.flat(stripes, stripes + 0.5, self.crossing - 4, self.crossing - 1, white)
        for lane in (*self.oncoming, *self.ahead[1:]):
            dashes = np.arange(rng.uniform(3, 8), 70, 9.0)
            line = lane + (LANE / 2 if lane < 0 else -LANE / 2)
            canvas.flat(line - 0.07, line + 0.07, dashes, dashes + 4.5, white)
        if canvas.chance(0.4):
            edge = right['road'] - 0.3
            canvas.flat(edge - 0.07, edge + 0.07, NEAR, 70, white)
        for _ in range(rng.integers(0, 3)):  # areas of newer asphalt
            x, z = rng.uniform(-3, 1), rng.uniform(5, 20)
            asphalt = np.array(paint['road']) * rng.uniform(0.75, 1.1)
            canvas.flat(x, x + rng.uniform(0.6, 2), z, z + rng.uniform(1, 8), canvas.paint(asphalt))
        if canvas.chance(0.4):
            z, sign = rng.uniform(5, 14), rng.choice((-1, 1))
            sides = np.array((sign * 12, sign * 12, rng.uniform(-3, 3), rng.uniform(-3, 3)))
            corners = canvas.project(sides, 0, z + np.array((0, 12, 10, 1)))
            canvas.shade(corners, rng.uniform(0.25, 0.5))

    def _paving(self, inner: float, outer: float, color: Color) -> None:
        canvas = self.canvas
        joint = canvas.paint([np.array(color) * 0.82], spread=3)
        z = np.arange(4, 24, 1.2)
        canvas.lines(canvas.project(inner, 0, z), canvas.project(outer, 0, z), joint, 1)
        x = np.linspace(inner, outer, 5)[1:-1]
        canvas.lines(canvas.project(x, 0, NEAR), canvas.project(x, 0, 40), joint, 1)
        kerb = canvas.paint([np.array(color) * 1.18], spread=4)
        canvas.flat(inner, inner + np.sign(inner) * 0.2, NEAR, FAR, kerb)

    def _margins(self) -> None:
        """Draw houses, walls, fences, hedges and parks along both sides, far ones first."""
        canvas, rng = self.canvas, self.rng
        parts: list[tuple[float, Callable[[], None]]] = []
        for sign, strips in self.sides:
            x, z, light = sign * strips['end'], NEAR, rng.uniform(0.72, 1.1)
            while z < FAR * 0.8:
                far = end = z + rng.uniform(7, 20) + (6 if z == NEAR else 0)
                draw = MARGINS[rng.choice(len(MARGINS), p=MARGIN_SHARES)]
                if self.crossing and z < self.crossing + 9:
                    far = min(end, self.crossing - 1)
                if far - z > 3:
                    parts.append((z, partial(draw, canvas, x, z, far, light=light)))
                z = end
        if self.overhead:
            (_, left), (_, right) = self.sides
            draw = roadside.bridge if canvas.chance(0.55) else roadside.tunnel
            across = partial(draw, canvas, -left['end'], right['end'], self.overhead)
            parts.append((self.overhead, across))
        for _, draw in sorted(parts, key=lambda part: -part[0]):
            draw()

    def _traffic(self) -> None:
        """Queue vehicles and riders on lanes, rails and in parking bays."""
        canvas, rng = self.canvas, self.rng
        wanted = ['truck'] * canvas.chance(0.62) + ['bus'] * canvas.chance(0.62)
        rng.shuffle(wanted)
        lanes = [*self.oncoming, *self.ahead]
        starts = {lane: rng.uniform(9, 22) for lane in lanes}
        for lane in rng.permutation(lanes):
            z = starts[lane]
            while z < 85:
                kind = wanted.pop() if wanted else rng.choice(KINDS, p=KIND_SHARES)
                z += self._vehicle(kind, lane, z) + rng.exponential(9) + 2.5
        for sign, strips in self.sides:
            if 'rail track' in strips and canvas.chance(0.9):
                self._vehicle('train', sign * (strips['rail track'] - 1.5), rng.uniform(9, 24))
            if 'parking' in strips:
                z, x = rng.uniform(5, 12), sign * (strips['parking'] - 1.15)
                while z < 60:
                    kind = rng.choice(PARKED, p=PARKED_SHARES)
                    z += (5 if kind == 'gap' else self._vehicle(kind, x, z)) + rng.uniform(0.8, 2)
        for kind, share in (('bicycle', 0.7), ('motorcycle', 0.62)):
            for _ in range(int(canvas.chance(share)) + int(canvas.chance(0.3))):
                lane = rng.choice(lanes)  # on the lane's side that is away from the own lane
                x = lane + np.sign(lane + rng.normal(0, 0.1)) * (LANE / 2 - 0.4)
                z = rng.uniform(6.5, 20)
                self._later(abs(lane), z, objects.cycle, x, z, kind, ridden=True)

    def _vehicle(self, kind: str, x: float, z: float) -> float:
        """Queue a vehicle and return its length."""
        draw = vehicles.car if kind == 'car' else partial(vehicles.long_vehicle, kind=kind)
        self._later(abs(x), z, draw, x, z, oncoming=x < -LANE / 2)
        return LENGTHS[kind]

    def _pavement(self, sign: int, strips: dict[str, float]) -> None:
        """Queue poles, trees, people, parked cycles, bins and rails beside the lanes."""
        chance, rng = self.canvas.chance, self.rng
        names = list(strips)
        inner = strips[names[names.index('sidewalk') - 1]]
        outer, end = strips['sidewalk'], strips['end']
        later, kerb = partial(self._later, inner), sign * (inner + 0.4)
        for z in np.arange(rng.uniform(7, 11), 60, rng.uniform(6, 11)):
            later(z, objects.pole, kerb, z, rng.choice(POLES, p=POLE_SHARES))
        if chance(0.25):
            for z in np.arange(rng.uniform(6, 10), 30, 2.0):
                later(z, objects.pole, kerb, z, 'bollard')
        if chance(0.4):
            for z in np.arange(rng.uniform(9, 16), 80, rng.uniform(8, 14)):
                self._later(end - 0.8, z, objects.tree, sign * (end - 0.8), z)
        for _ in range(rng.integers(1, 5)):
            z, middle = 6 + rng.exponential(12), rng.uniform(inner + 0.8, outer - 0.3)
            for _ in range(rng.integers(1, 6)):
                near = max(5.5, z + rng.normal(0, 1.0))
                x = sign * max(inner + 0.4, middle + rng.normal(0, 0.7))
                later(near, objects.person, x, near)
        for kind, share in (('bicycle', 0.45), ('motorcycle', 0.35)):
            if chance(share):
                for z in rng.uniform(6, 14) + np.arange(rng.integers(1, 4)):
                    x = sign * rng.uniform(inner + 1, outer)
                    later(z, objects.cycle, x, z, kind, ridden=False)
        if chance(0.45):
            z, x = rng.uniform(6, 18), sign * rng.uniform(inner + 0.6, outer)
            later(z, objects.dustbin, x, z)
        edge, z = sign * (inner + 0.1), rng.uniform(5, 12)
        draw = rng.random()  # rails stand at the kerb, before everything on the pavement
        if draw < 0.2:
            self._later(inner - 0.1, z, objects.guard_rail, edge, z)
        elif draw < 0.45:
            end = z + rng.uniform(8, 20)
            self._later(inner - 0.1, z, roadside.railing, edge, z, end)
