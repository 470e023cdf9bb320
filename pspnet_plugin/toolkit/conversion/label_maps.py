"""Label maps in the formats of other data sets, read from their files.

A label map stores class indices (one channel of 8 or 16 bits, or a PNG with a colour table, whose
indices count) or exact colours (RGB). Both are read as indices into one list of colours: those of
the classes, then void.

Shape shorthand in this module: H, W: height and width; K: number of colours, void included.
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
    """Meaning of the values that label maps store.

    Args:
        colors: K colours, RGB: those of the classes, then void.
        num_classes: Number of classes.
        index_table: For each of 256 stored indices its position in ``colors``; ``IGNORE_INDEX``
            for an index that must not occur.
    """

    colors: tuple[Color, ...]
    num_classes: int
    index_table: tuple[int, ...]

    @classmethod
    def from_metainfo(cls, metainfo: dict) -> 'LabelFormat':
        """Format of maps that store class indices, and 255 for void.

        Args:
            metainfo: ``palette`` and ``void_palette``, neither of them empty.
        """
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
    """Read a label map, (H, W) uint8: indices into ``label_format.colors``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no complete image, a JPEG, of a depth whose values are ambiguous, or
            holds an index or a colour that ``label_format`` does not know.
    """
    with open_image(path) as (image, stored):
        _check_format(path, image, stored)
        values = np.asarray(image)
        if image.mode in COLOR_MODES:
            return _from_colors(path, values, label_format)
        if image.mode == 'P':
            _check_color_table(path, image, values, label_format)
        return _from_indices(path, values[..., 0] if image.mode == 'LA' else values, label_format)


def _check_format(path: Path, image: Image.Image, stored: str) -> None:
    """Refuse a file that may not hold the values that were written."""
    if image.format == 'JPEG':
        raise ValueError(
            f'{path} is a JPEG, which alters the values of a label map. Give the lossless original '
            '(PNG, TIFF or BMP)'
        )
    if image.mode not in INDEX_MODES + COLOR_MODES:
        raise ValueError(
            f'{path} has the colour mode {image.mode}. Convert it to indices (one channel of 8 or '
            '16 bits) or RGB colours'
        )
    if _STRETCHED.fullmatch(stored):
        raise ValueError(
            f'{path} has grey of {stored[2]} bits, which some programs use for indices and others '
            'for shades. Convert it to an 8-bit grey or palette PNG, and check that its values are '
            'the class indices'
        )
    if DEEP_MODES.fullmatch(stored):
        raise ValueError(
            f'{path} has several channels of 16 bits ({stored}). Convert it to indices (one '
            'channel of 8 or 16 bits) or RGB colours of 8 bits'
        )


def _from_indices(path: Path, values: np.ndarray, label_format: LabelFormat) -> np.ndarray:
    """Map (H, W) stored indices of any integer type to positions in the list of colours."""
    values = values.astype(np.int32)
    table = np.array([*label_format.index_table, IGNORE_INDEX], np.uint8)
    labels = table[np.where((values < 0) | (values > 255), 256, values)]
    unknown = labels == IGNORE_INDEX
    if unknown.any():
        last = max(np.flatnonzero(table[:IGNORE_INDEX] != IGNORE_INDEX))
        raise ValueError(
            f'{path} holds index {values[unknown][0]} {_where(unknown)}, but knows 0 to {last}, '
            f'and {IGNORE_INDEX} to ignore a pixel. Fix the map, or name the classes and the kind '
            'of labels that it was drawn with'
        )
    return labels


def _from_colors(path: Path, values: np.ndarray, label_format: LabelFormat) -> np.ndarray:
    """Map (H, W, 3 or 4) colours to positions in the list of colours."""
    red, green, blue = (values[..., channel].astype(np.int32) for channel in range(3))
    labels = _color_table(label_format.colors)[red << 16 | green << 8 | blue]
    unknown = labels == IGNORE_INDEX
    if unknown.any():
        color = tuple(int(level) for level in values[unknown][0][:3])
        raise ValueError(
            f'{path} holds the colour {color} {_where(unknown)}, which the palette lacks. Give a '
            'map of exact colours, without blended edges, or add the colour to palette or '
            'void_palette'
        )
    return labels


def _where(mask: np.ndarray) -> str:
    y, x = np.unravel_index(mask.argmax(), mask.shape)
    return f'(at x={x}, y={y}; {np.count_nonzero(mask)} such pixels)'


@lru_cache(maxsize=1)
def _color_table(colors: tuple[Color, ...]) -> np.ndarray:
    """Position of each colour ``R << 16 | G << 8 | B``, (2**24,) uint8."""
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
    entries = np.array(image.getpalette('RGB'), np.int32).reshape(-1, 3).tolist()
    used = np.flatnonzero(np.bincount(values.ravel())).tolist()
    known = {color: position for position, color in enumerate(label_format.colors)}
    meant = {i: known.get(tuple(entries[i]), -1) for i in used if i < len(entries)}
    if -1 in meant.values():
        return
    for index, position in meant.items():
        if position < label_format.num_classes and position != label_format.index_table[index]:
            raise ValueError(
                f'{path}: index {index} of its colour table has the colour of class {position}, so '
                'indices and colours contradict each other. Save it as RGB if the colours are '
                'right, as one channel without a table if the indices are'
            )
