"""Photos and label maps as anybody's data set has them, read from their files.

A label map is a picture of indices (single channel of 8 or 16 bits, or a PNG with a colour table,
whose indices count) or of exact colours (RGB). Either way it is read as positions in one list of
colours: those of the classes, then those that are known and no class.

Pillow reads here, not OpenCV: it keeps the indices of a colour table, and refuses pictures that
are cut off.

Shape shorthand in this module: H, W: height and width; C: number of classes; K: of all colours.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.utils.images import orientation

INDEX_MODES = ('1', 'L', 'LA', 'P', 'I', 'I;16', 'I;16B')
COLOR_MODES = ('RGB', 'RGBA')
# How Pillow names what it changes without a word as it loads: channels of 16 bits, of which it
# keeps 8, and grey of 2 or 4 bits, which it stretches to 0 ... 255.
_CUT = re.compile(r'(L|RGB|CMYK).*;16[BLNS]?')
_STRETCHED = re.compile(r'L;[24].*')

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Legend:
    """What the values of label maps mean.

    Args:
        colors: K colours, RGB: of the classes, then of what is no class.
        classes: C, how many of the colours are classes.
        positions: 256 numbers: the position in ``colors`` of each index, ``IGNORE_INDEX`` for one
            that must not occur.
    """

    colors: tuple[Color, ...]
    classes: int
    positions: tuple[int, ...]


def with_void(metainfo: dict) -> dict:
    """The same with a void colour at least, for pixels that are no class.

    One that is missing is the colour of a regular grid that is farthest from all classes.
    """
    if metainfo['void_palette']:
        return metainfo
    levels = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), -1).reshape(-1, 3)
    distance = np.full(len(grid), np.inf)
    for color in metainfo['palette']:
        distance = np.minimum(distance, ((grid - color) ** 2).sum(-1))
    return {**metainfo, 'void_palette': [grid[distance.argmax()].tolist()]}


def plain_legend(metainfo: dict) -> Legend:
    """Index maps that hold class indices, and 255 (the first void colour) for what is none.

    Args:
        metainfo: ``palette`` and ``void_palette``, which is not empty.
    """
    colors = [tuple(color) for color in (*metainfo['palette'], *metainfo['void_palette'])]
    count = len(metainfo['palette'])
    positions = [*range(count), *[IGNORE_INDEX] * (256 - count)]
    positions[IGNORE_INDEX] = count
    return Legend(tuple(colors), count, tuple(positions))


def read_photo(path: Path) -> np.ndarray:
    """A photo, (H, W, 3) uint8 RGB, upright as its EXIF says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole picture, or has more than 8 bits a channel.
    """
    with _opened(path) as (image, stored):
        if image.mode.startswith(('I', 'F')) or _CUT.fullmatch(stored):
            raise ValueError(
                f'{path}: a picture with more than 8 bits a channel ({stored}); expected an '
                '8-bit photo, because only you know which range of it matters: convert it'
            )
        try:
            orientation(image)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


def read_labels(path: Path, legend: Legend) -> np.ndarray:
    """A label map, (H, W) uint8: positions in ``legend.colors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole picture, a JPEG, of a depth whose values are not certain, or
            holds an index or a colour that the legend does not know.
    """
    with _opened(path) as (image, stored):
        if image.format == 'JPEG':
            raise ValueError(
                f'{path}: a JPEG, which alters the values of a label map; give the lossless '
                'original (PNG, TIFF or BMP)'
            )
        if image.mode not in INDEX_MODES + COLOR_MODES:
            raise ValueError(
                f'{path}: a picture of mode {image.mode}; expected indices (single channel of 8 or '
                '16 bits) or RGB colours'
            )
        if _STRETCHED.fullmatch(stored):
            raise ValueError(
                f'{path}: grey of {stored[2]} bits, whose values some programs mean as indices and '
                'others as shades; expected an 8-bit grey or palette PNG: convert it and see that '
                'its values are the indices'
            )
        if _CUT.fullmatch(stored):
            raise ValueError(
                f'{path}: several channels of 16 bits ({stored}); expected indices (single '
                'channel of 8 or 16 bits) or RGB colours of 8 bits: convert it'
            )
        values = np.asarray(image)
        if image.mode in COLOR_MODES:
            return _from_colors(path, values, legend)
        if image.mode == 'P':
            _check_color_table(path, image, values, legend)
        return _from_indices(path, values[..., 0] if image.mode == 'LA' else values, legend)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, str]]:
    """The picture with its pixels loaded, and how the file stores them, as Pillow names it.

    Whatever Pillow meets in a bad file is ``ValueError``.
    """
    try:
        image = Image.open(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise _bad_picture(path, error) from None
    with image:
        stored = _raw_mode(image)
        try:
            image.load()
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
            raise _bad_picture(path, error) from None
        yield image, stored


def _raw_mode(image: Image.Image) -> str:
    """Mode of the stored pixels, e.g. ``RGB;16B``; before they are loaded, which forgets it."""
    for *_, arguments in getattr(image, 'tile', ()):
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(raw, str):
            return raw
    return image.mode


def _bad_picture(path: Path, error: Exception) -> ValueError:
    reason = str(error).replace(f' {str(path)!r}', '') or type(error).__name__
    return ValueError(f'{path}: no picture, or cut off ({reason}); copy it again or take it out')


def _from_indices(path: Path, values: np.ndarray, legend: Legend) -> np.ndarray:
    """Positions of (H, W) indices of any integer type."""
    values = values.astype(np.int32)
    table = np.append(np.array(legend.positions, np.uint8), np.uint8(IGNORE_INDEX))
    positions = table[np.where((values < 0) | (values > 255), 256, values)]
    unknown = positions == IGNORE_INDEX
    if unknown.any():
        last = max(
            i for i, p in enumerate(legend.positions) if p != IGNORE_INDEX and i != IGNORE_INDEX
        )
        raise ValueError(
            f'{path}: index {values[unknown][0]} {_where(unknown)} means nothing here: expected '
            f'0 to {last}, or {IGNORE_INDEX} for what is ignored; mend the map, or name the '
            'classes and the kind of labels that it was drawn with'
        )
    return positions


def _from_colors(path: Path, values: np.ndarray, legend: Legend) -> np.ndarray:
    """Positions of (H, W, 3 or 4) RGB colours."""
    red, green, blue = (values[..., channel].astype(np.int32) for channel in range(3))
    positions = _color_table(legend.colors)[red << 16 | green << 8 | blue]
    unknown = positions == IGNORE_INDEX
    if unknown.any():
        color = tuple(int(level) for level in values[unknown][0][:3])
        raise ValueError(
            f'{path}: colour {color} {_where(unknown)} is not in the palette; expected its exact '
            'colours, without blended edges: mend the map, or add the colour to the palette or its '
            'void_palette'
        )
    return positions


def _where(mask: np.ndarray) -> str:
    y, x = np.unravel_index(mask.argmax(), mask.shape)
    return f'(at x={x}, y={y}; {np.count_nonzero(mask)} such pixels)'


@lru_cache(maxsize=1)
def _color_table(colors: tuple[Color, ...]) -> np.ndarray:
    """(2**24,) uint8: the position of each colour ``R << 16 | G << 8 | B``."""
    table = np.full(1 << 24, IGNORE_INDEX, np.uint8)
    for position, (red, green, blue) in enumerate(colors):
        table[red << 16 | green << 8 | blue] = position
    return table


def _check_color_table(path: Path, image: Image.Image, values: np.ndarray, legend: Legend) -> None:
    """Refuses a colour map that some program has packed into a table of its own order.

    Its indices would be read as other classes, without a word. It shows where all colours in use
    are known and one of them is a class at another index.
    """
    entries = np.array(image.getpalette('RGB'), np.int32).reshape(-1, 3)
    used = [int(index) for index in np.flatnonzero(np.bincount(values.ravel()))]
    known = {color: position for position, color in enumerate(legend.colors)}
    says = {i: known.get(tuple(entries[i].tolist())) for i in used if i < len(entries)}
    if None in says.values():
        return
    for index, position in says.items():
        if position < legend.classes and position != legend.positions[index]:
            raise ValueError(
                f'{path}: index {index} of its colour table has the colour of class {position}, so '
                'indices and colours contradict each other; save it as RGB if the colours are '
                'right, as a single channel without a table if the indices are'
            )
