"""A contact sheet of pairs: photo | colour half | what it is read as | what is unsure.

Pictures are enlarged by whole numbers without interpolation, and placed pixel on pixel, so that at
100 % every pixel of a pair can be judged.

Shape shorthand in this module: H, W: height and width of one half.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pspnet_plugin.datasets.pair_backends import read_pair
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.inspection.pair_statistics import Reading

DPI = 100
TILE = 768  # pixels of width: three times a half of 256
MARGIN, GAP, LINE = 24, 12, 34  # pixels
SWATCH, ENTRY = 24, 380  # pixels of width in the legend
MOST_PIXELS = 2**16 - 1  # of a side; what older Matplotlib draws, and memory holds
DIM = 0.3  # brightness of what is sure
HEADINGS = (
    'photo',
    'colour half',
    'read as',
    'dim: sure, bright: unsure, striped: unexplained',
)


@dataclass(frozen=True)
class Row:
    """A pair on the sheet: its file and what stands above it."""

    path: str
    caption: str


def draw_sheet(
    rows: Sequence[Row], *, reading: Reading, title: str, legend: Sequence[tuple[str, int]]
) -> bytes:
    """The sheet as a PNG file.

    Args:
        rows: The pairs.
        reading: How they are read.
        title: Its first line.
        legend: Texts with the positions in ``reading.known`` whose colours they explain; void
            and unexplained pixels have the positions from the first void colour on, and 255.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no pair, or the sheet would be too large.
    """
    tiles = [make_tiles(row.path, reading) for row in rows]
    widths = [max(row[i].shape[1] for row in tiles) for i in range(4)]
    width = 2 * MARGIN + sum(widths) + 3 * GAP
    columns = max(1, (width - 2 * MARGIN) // ENTRY)
    head = 2 * MARGIN + 2 * LINE + -(-len(legend) // columns) * LINE
    heights = [LINE + row[0].shape[0] + GAP for row in tiles]
    height = head + sum(heights) + MARGIN
    if max(width, height) > MOST_PIXELS:
        raise ValueError(
            f'a sheet of {len(rows)} of these pairs would have {width} x {height} pixels, where '
            f'{MOST_PIXELS} a side can be drawn; draw fewer'
        )
    sheet = _Canvas(width, height)
    sheet.text(MARGIN, MARGIN, title, size=26, weight='bold')
    for i, (name, position) in enumerate(legend):
        left = MARGIN + i % columns * ENTRY
        top = MARGIN + LINE + GAP + i // columns * LINE
        swatch = np.full((SWATCH, SWATCH), position, np.uint8)
        sheet.picture(left, top, paint(swatch, reading))
        sheet.text(left + SWATCH + GAP, top, name, size=20)
    lefts = [MARGIN + sum(widths[:i]) + i * GAP for i in range(4)]
    for left, heading in zip(lefts, HEADINGS, strict=True):
        sheet.text(left, head - LINE, heading, size=20, weight='bold')
    top = head
    for row, pictures, used in zip(rows, tiles, heights, strict=True):
        sheet.text(MARGIN, top + 4, row.caption, size=20)
        for left, picture in zip(lefts, pictures, strict=True):
            sheet.picture(left, top + LINE, picture)
        top += used
    return sheet.png()


def row_height(width: int, height: int) -> int:
    """Pixels that the row of a pair takes, by the size of one half."""
    return LINE + height * _factor(width) + GAP


def _factor(width: int) -> int:
    return max(1, round(TILE / width))


def make_tiles(path: str, reading: Reading) -> list[np.ndarray]:
    """The four pictures of a row, RGB, enlarged."""
    photo, colors = reading.halves(read_pair(path))
    factor = _factor(photo.shape[1])
    positions = np.kron(reading.positions(colors), np.ones((factor, factor), np.uint8))
    sure = np.kron(reading.sure(colors), np.ones((factor, factor), bool))
    decoded = paint(positions, reading)
    dim = sure & (positions != IGNORE_INDEX)
    unsure = np.where(dim[..., None], (decoded * DIM).astype(np.uint8), decoded)
    enlarged = [half[..., ::-1].repeat(factor, 0).repeat(factor, 1) for half in (photo, colors)]
    return [*enlarged, decoded, unsure]


def paint(positions: np.ndarray, reading: Reading) -> np.ndarray:
    """An (H, W, 3) RGB picture of (H, W) positions in ``reading.known``.

    Classes have their colours; void is black with grey stripes, what nothing explains is white
    with black stripes.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(reading.palette)] = reading.palette
    picture = table[positions]
    y, x = np.indices(positions.shape, sparse=True)
    unexplained = positions == IGNORE_INDEX
    void = ~unexplained & (positions >= len(reading.palette))
    picture[void & ((x + y) % 12 < 3)] = 90
    picture[unexplained & ((x - y) % 6 > 1)] = 255
    return picture


class _Canvas:
    """A white figure on which everything has its place in pixels from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor='white')

    def text(self, left: int, top: int, text: str, *, size: int, weight: str = 'normal') -> None:
        """Text of a height in pixels; its upper left corner is given."""
        self.figure.text(
            left / self.width, 1 - top / self.height, text,
            fontsize=size * 72 / DPI, fontweight=weight, va='top', parse_math=False,
        )  # fmt: skip

    def picture(self, left: int, top: int, picture: np.ndarray) -> None:
        """An RGB picture, pixel on pixel."""
        below = self.height - top - picture.shape[0]
        self.figure.figimage(picture, left, below)

    def png(self) -> bytes:
        """The figure as a file."""
        out = io.BytesIO()
        self.figure.savefig(out, format='png', dpi=DPI)
        return out.getvalue()
