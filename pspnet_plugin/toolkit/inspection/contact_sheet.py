"""Contact sheet of pairs: photo | colour half | decoded labels | unsure pixels.

Images are enlarged by whole numbers without interpolation and placed pixel on pixel, so that every
pixel of a pair can be judged at 100 %.
"""

import copy
import io
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pspnet_plugin.apis.drawing import find_font
from pspnet_plugin.datasets.pair_backends import halves, read_pair
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.inspection.pair_statistics import DecodingSettings
from pspnet_plugin.toolkit.inspection.split_statistics import SplitStatistics
from pspnet_plugin.utils.resizing import Size

TILE = 768  # pixels of width: three times a half of 256
MARGIN, GAP, LINE = 24, 12, 34  # pixels
SWATCH, ENTRY = 24, 380  # pixels of width in the legend, the latter at least
LARGEST_SIDE = 2**16 - 1  # pixels of the sheet, because it is drawn in memory
DIM = 0.3  # brightness of sure pixels
UNSURE_ROWS = 3  # one of so many rows is for the most unsure pairs
HEADINGS = ('photo', 'colour half', 'decoded', 'dim: sure, bright: unsure, striped: unexplained')
NOTES = dict(
    swapped=', the halves look swapped: give the other --photo-side',
    foreign=', in colours that the palette lacks',
)


class Row(NamedTuple):
    """A pair on the sheet: its file and the text above it."""

    path: str
    caption: str


def max_rows(sizes: Iterable[Size] = ((1, 1),)) -> int:
    """Return the number of rows that surely fit on a sheet of halves of these sizes."""
    space = LARGEST_SIDE * 15 // 16  # the rest is for the legend
    return space // max(LINE + height * _scale(width) + GAP for height, width in sizes)


def choose_rows(splits: Sequence[SplitStatistics], count: int) -> list[Row]:
    """Choose pairs for the sheet: most spread evenly over all splits, the rest the most unsure."""
    pairs = [(split, number) for split in splits for number in sorted(split.unsure_shares)]
    unsure = sorted(
        (pair for pair in pairs if pair[0].unsure_shares[pair[1]] > 0),
        key=lambda pair: -pair[0].unsure_shares[pair[1]],
    )
    worst = unsure[: min(count, len(pairs)) // UNSURE_ROWS]
    rest = [pair for pair in pairs if pair not in worst]
    even = np.linspace(0, len(rest) - 1, min(count - len(worst), len(rest))).round().astype(int)
    rows = []
    for split, number in [*(rest[i] for i in even), *worst]:
        name, share = split.split.pairs[number], split.unsure_shares[number]
        notes = [', one of the most unsure'] if (split, number) in worst else []
        notes += [note for fit, note in NOTES.items() if number in split.fits[fit]]
        caption = f'{PurePosixPath(split.split.name) / name}   {share:.1%} unsure{"".join(notes)}'
        rows.append(Row(split.split.path(name), caption))
    return rows


def _legend(splits: Sequence[SplitStatistics]) -> list[tuple[str, int]]:
    """Return texts with the share of each class in each split, and the label to paint there."""
    figures = [split.figures() for split in splits]
    entries = [
        (name, i, [f['classes'][i]['share'] for f in figures])
        for i, name in enumerate(splits[0].settings.classes)
    ]
    for name, label in (('void', len(entries)), ('unexplained', IGNORE_INDEX)):
        entries.append((name, label, [f[name] for f in figures]))
    return [(f'{name} {" / ".join(map("{:.2%}".format, s))}', label) for name, label, s in entries]


def draw_sheet(rows: Sequence[Row], splits: Sequence[SplitStatistics], *, title: str) -> bytes:
    """Draw the sheet as a PNG file.

    ``OSError``: a file cannot be read. ``ValueError``: it is no pair, or the sheet would be too
    large.
    """
    settings, legend = splits[0].settings, _legend(splits)
    tiles = [_make_tiles(row.path, settings) for row in rows]
    widths = [max(row[i].shape[1] for row in tiles) for i in range(4)]
    width = 2 * MARGIN + sum(widths) + 3 * GAP
    entry = max(ENTRY, SWATCH + 3 * GAP + max(int(_font(t).getlength(t)) for t, _ in legend))
    columns = max(1, (width - 2 * MARGIN) // entry)
    head = 2 * MARGIN + 2 * LINE + -(-len(legend) // columns) * LINE
    height = head + sum(LINE + row[0].shape[0] + GAP for row in tiles) + MARGIN
    if max(width, height) > LARGEST_SIDE:
        raise ValueError(
            f'a sheet of {len(rows)} of these pairs would have {width} x {height} pixels, but '
            f'{LARGEST_SIDE} a side can be drawn. Draw fewer'
        )
    sheet = Image.new('RGB', (width, height), 'white')
    draw = ImageDraw.Draw(sheet)

    def write(left: int, top: int, text: str, size: int = 20) -> None:
        draw.text((left, top), text, fill='black', font=_font(text, size))

    write(MARGIN, MARGIN, title, 26)
    for i, (name, label) in enumerate(legend):
        left = MARGIN + i % columns * entry
        top = MARGIN + LINE + GAP + i // columns * LINE
        swatch = _paint(np.full((SWATCH, SWATCH), label, np.uint8), settings)
        sheet.paste(Image.fromarray(swatch), (left, top))
        draw.rectangle((left, top, left + SWATCH - 1, top + SWATCH - 1), outline='grey')
        write(left + SWATCH + GAP, top, name)
    lefts = [MARGIN + sum(widths[:i]) + i * GAP for i in range(4)]
    for left, heading in zip(lefts, HEADINGS, strict=True):
        write(left, head - LINE, heading)
    top = head
    for row, images in zip(rows, tiles, strict=True):
        write(MARGIN, top + 4, row.caption)
        for left, image in zip(lefts, images, strict=True):
            sheet.paste(Image.fromarray(image), (left, top + LINE))
        top += LINE + images[0].shape[0] + GAP
    content = io.BytesIO()
    sheet.save(content, 'PNG')
    return content.getvalue()


def _font(text: str, size: int = 20) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(find_font(text)[1], size)


def _make_tiles(path: str, settings: DecodingSettings) -> list[np.ndarray]:
    """Return the four images of a row, RGB, enlarged."""
    photo, colors = halves(read_pair(path), settings.photo_side)
    scale = _scale(photo.shape[1])
    decoder = copy.copy(settings.decoder)
    decoder.min_explained = 0  # pairs in other colours are drawn too
    parts = photo[..., ::-1], colors[..., 2::-1], decoder.decode(colors), decoder.sure(colors)
    photo, colors, labels, sure = (part.repeat(scale, 0).repeat(scale, 1) for part in parts)
    decoded = _paint(labels, settings)
    dim = sure & (labels != IGNORE_INDEX)
    unsure = np.where(dim[..., None], (decoded * DIM).astype(np.uint8), decoded)
    return [photo, colors, decoded, unsure]


def _paint(labels: np.ndarray, settings: DecodingSettings) -> np.ndarray:
    """Paint (H, W) labels as (H, W, 3) RGB: void with grey stripes, unexplained white and black."""
    count = len(settings.classes)
    table = np.zeros((256, 3), np.uint8)
    table[:count] = settings.decoder.palette[:count]
    image = table[labels]
    y, x = np.ogrid[: labels.shape[0], : labels.shape[1]]
    unexplained = labels == IGNORE_INDEX
    image[(labels >= count) & ~unexplained & ((x + y) % 12 < 3)] = 90
    image[unexplained & ((x - y) % 6 > 1)] = 255
    return image


def _scale(width: int) -> int:
    return max(1, round(TILE / width))
