"""Label maps in the formats of other data sets, read from their files.

A label map stores class indices (one channel of 8 or 16 bits, or a PNG with a colour table, whose
indices count) or exact colours (RGB). Both are read as indices into one list of colours: those of
the classes, then void.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color
from pspnet_plugin.utils.images import DEEP_MODES, open_image

INDEX_MODES = ('1', 'L', 'LA', 'P', 'I', 'I;16', 'I;16B')
COLOR_MODES = ('RGB', 'RGBA')
# Raw modes of grey that Pillow silently stretches to 0 ... 255.
_STRETCHED = re.compile(r'L;[24].*')


@dataclass(frozen=True)
class LabelFormat:
    """Meaning of the values that label maps store."""

    colors: tuple[Color, ...]  # RGB of the classes, then of void
    num_classes: int
    index_table: tuple[int, ...]  # position in colors of 256 indices; 255 if one must not occur

    @classmethod
    def from_metainfo(cls, metainfo: dict) -> 'LabelFormat':
        """Format of maps that store class indices, and 255 for the first void colour."""
        colors = tuple(tuple(color) for color in (*metainfo['palette'], *metainfo['void_palette']))
        count = len(metainfo['palette'])
        table = [*range(count), *[IGNORE_INDEX] * (256 - count)]
        table[IGNORE_INDEX] = count
        return cls(colors, count, tuple(table))


def with_void(metainfo: dict) -> dict:
    """Return the metainfo with at least one void colour, for pixels of no class.

    A missing one becomes the colour of a regular grid that is farthest from all classes.
    """
    if metainfo['void_palette']:
        return metainfo
    levels = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), -1).reshape(-1, 3)
    distance = np.full(len(grid), np.inf)
    for color in metainfo['palette']:
        distance = np.minimum(distance, ((grid - color) ** 2).sum(-1))
    return {**metainfo, 'void_palette': [grid[distance.argmax()].tolist()]}


def read_labels(path: Path, label_format: LabelFormat) -> np.ndarray:
    """Read a label map, (H, W) uint8: positions in ``label_format.colors``.

    ``OSError``: the file cannot be read. ``ValueError``: it is no complete image, a JPEG, of a
    depth whose values are ambiguous, or holds an index or a colour that ``label_format`` does not
    know.
    """
    with open_image(path) as (image, stored):
        if problem := _format_problem(image, stored):
            raise ValueError(f'{path} {problem}')
        values = np.asarray(image).astype(np.int32)
        if image.mode == 'P':
            _check_color_table(path, image, values, label_format)
    if image.mode in COLOR_MODES:
        values = values[..., :3]
        red, green, blue = np.moveaxis(values, -1, 0)
        labels = _color_table(label_format.colors)[red << 16 | green << 8 | blue]
        advice = (
            'which the palette lacks. Give a map of exact colours, without blended edges, or add '
            'the colour to palette or void_palette'
        )
    else:
        values = values[..., 0] if image.mode == 'LA' else values
        table = np.array([*label_format.index_table, IGNORE_INDEX], np.uint8)
        labels = table[values.clip(-1, 256)]
        last = np.flatnonzero(table[:IGNORE_INDEX] != IGNORE_INDEX)[-1]
        advice = (
            f'but classes have 0 to {last}, ignored pixels {IGNORE_INDEX}. Fix the map, or name '
            'the classes and the kind of labels that it was drawn with'
        )
    unknown = labels == IGNORE_INDEX
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        value = values[y, x].tolist()
        name = f'index {value}' if values.ndim == 2 else f'the colour {tuple(value)}'
        raise ValueError(
            f'{path} holds {name} (at x={x}, y={y}; {unknown.sum()} such pixels), {advice}'
        )
    return labels


def _format_problem(image: Image.Image, stored: str) -> str | None:
    """Return why the loaded values may be others than those that were written."""
    if image.format == 'JPEG':
        return 'is a JPEG, which alters labels. Give the lossless original (PNG, TIFF or BMP)'
    if _STRETCHED.fullmatch(stored):
        return (
            f'has grey of {stored[2]} bits, which some programs use for indices and others for '
            'shades. Convert it to 8 bits, and check that its values are the class indices'
        )
    if image.mode not in INDEX_MODES + COLOR_MODES or DEEP_MODES.fullmatch(stored):
        return (
            f'has the colour mode {stored}. Convert it to indices (one channel of 8 or 16 bits) '
            'or RGB colours of 8 bits'
        )
    return None


@lru_cache(maxsize=1)
def _color_table(colors: tuple[Color, ...]) -> np.ndarray:
    """Return the position of each colour ``R << 16 | G << 8 | B``, (2**24,) uint8."""
    table = np.full(1 << 24, IGNORE_INDEX, np.uint8)
    for position, (red, green, blue) in enumerate(colors):
        table[red << 16 | green << 8 | blue] = position
    return table


def _check_color_table(
    path: Path, image: Image.Image, values: np.ndarray, label_format: LabelFormat
) -> None:
    """Refuse a colour map that some program has packed into a table of its own order.

    Its indices would silently become other classes. It is one if all colours in use are known and
    one of them belongs to a class of another index.
    """
    entries = np.array(image.getpalette('RGB')).reshape(-1, 3).tolist()
    known = {color: position for position, color in enumerate(label_format.colors)}
    used = np.flatnonzero(np.bincount(values.ravel())).tolist()
    meant = {i: known.get(tuple(entries[i]), -1) for i in used if i < len(entries)}
    if -1 in meant.values():
        return
    for index, position in meant.items():
        if position < label_format.num_classes and position != label_format.index_table[index]:
            raise ValueError(
                f'{path}: index {index} of its colour table has the colour of class {position}. '
                'Save it as RGB if the colours are right, without a table if the indices are'
            )
