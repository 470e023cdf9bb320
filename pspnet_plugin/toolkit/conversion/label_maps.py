"""Label maps in the formats of other data sets, read from their files.

A label map stores class indices (one channel of 8 or 16 bits, a PNG with a colour table, or grey
RGB) or exact colours (RGB, the table's, or grey levels). All are read as indices into one list of
colours: those of the classes, then void. What grey values mean, indices or levels, holds for a set
as a whole; ``find_meaning`` tells it from a sample.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color, far_colors
from pspnet_plugin.utils.images import DEEP_MODES, alpha_of, check_alpha, open_image

INDEX_MODES = ('1', 'L', 'LA', 'P', 'PA', 'I', 'I;16', 'I;16B')
COLOR_MODES = ('RGB', 'RGBA')
MEANINGS = ('index', 'color')
# Raw modes of grey that Pillow silently stretches to 0 ... 255.
_STRETCHED = re.compile(r'L;[24].*')


@dataclass(frozen=True)
class LabelFormat:
    """Meaning of the values that label maps store."""

    colors: tuple[Color, ...]  # RGB of the classes, then of void
    num_classes: int
    index_table: tuple[int, ...]  # position in colors of 256 indices; 255 if one must not occur
    grey: str = 'index'  # what values of one channel are, of ``MEANINGS``
    grey_rgb: str = 'color'  # what RGB maps hold whose pixels are all grey
    jpeg: bool = False  # JPEGs are decoded by the edge-aware rule, not refused
    shared: frozenset[Color] = frozenset()  # colours of several classes, which tell none

    @classmethod
    def from_metainfo(
        cls, metainfo: dict, *, reduce_zero_label: bool = False, jpeg: bool = False
    ) -> 'LabelFormat':
        """Format of maps that store class indices, and 255 for the first void colour.

        If ``reduce_zero_label``, 0 is ignored too, and the classes are counted from 1.
        """
        colors = tuple(tuple(color) for color in (*metainfo['palette'], *metainfo['void_palette']))
        count, first = len(metainfo['palette']), int(reduce_zero_label)
        table = [IGNORE_INDEX] * 256
        table[first : first + count] = range(count)
        for ignored in (IGNORE_INDEX, *[0] * first):
            table[ignored] = count
        shared = frozenset(map(tuple, metainfo.get('shared_colors', ())))
        return cls(colors, count, tuple(table), jpeg=jpeg, shared=shared)

    @property
    def greys(self) -> dict[int, int]:
        """Position in colors of the grey ones, by their level."""
        grey = {color[0]: i for i, color in enumerate(self.colors) if len(set(color)) == 1}
        return {level: i for level, i in grey.items() if (level,) * 3 not in self.shared}


def with_void(metainfo: dict) -> dict:
    """Return the metainfo with at least one void colour, for pixels of no class."""
    if metainfo['void_palette']:
        return metainfo
    return {**metainfo, 'void_palette': far_colors(metainfo['palette'], 1)}


def with_own_colors(metainfo: dict) -> dict:
    """Return the metainfo with a colour of its own for each class that shares another's.

    ``shared_colors`` lists the colours that stood for several: maps of these tell no class.
    """
    colors = [tuple(color) for color in metainfo['palette']]
    void = list(dict.fromkeys(map(tuple, metainfo['void_palette'])))
    counts = Counter(colors + void)
    shared = sorted(color for color, count in counts.items() if count > 1)
    if not shared:
        return metainfo
    kept = [color if color not in colors[:i] + void else None for i, color in enumerate(colors)]
    new = far_colors([*filter(None, kept), *void], kept.count(None))
    palette = [list(color) if color else new.pop(0) for color in kept]
    void_palette, shared_colors = ([list(color) for color in part] for part in (void, shared))
    changed = dict(palette=palette, void_palette=void_palette, shared_colors=shared_colors)
    return {**metainfo, **changed}


def find_meaning(
    paths: Iterable[Path], label_format: LabelFormat, *, names: Sequence[str]
) -> LabelFormat:
    """Find whether the grey values of a set are indices or levels, from some of its maps.

    They are levels where the palette has them all, two or more of them as classes (or 255). Files
    that cannot be read do not count: they are reported where they are converted.

    ``ValueError``: they are 255, the index of ignored pixels, and one other value, so that all but
    one class would have no pixel.
    """
    grey: set[int] = set()
    grey_rgb: set[int] = set()
    has_colors = False
    for path in paths:
        try:
            with open_image(path) as (image, stored):
                values = (
                    None
                    if _format_problem(image, stored, jpeg=False)
                    else _values(image, label_format)
                )
        except (OSError, ValueError):
            continue
        if values is None or image.mode in ('P', 'PA'):
            continue
        if values.ndim == 2:
            grey |= set(np.unique(values).tolist())
        elif _is_grey(values):
            grey_rgb |= set(np.unique(values[..., 0]).tolist())
        else:
            has_colors = True
    indices = {i for i, p in enumerate(label_format.index_table) if p < IGNORE_INDEX}
    meaning, rgb_meaning = _meaning(grey, label_format), _meaning(grey_rgb, label_format)
    if has_colors or grey_rgb <= label_format.greys.keys() or not grey_rgb <= indices:
        rgb_meaning = 'color'
    for held_values, found in ((grey, meaning), (grey_rgb, rgb_meaning)):
        if found == 'index' and IGNORE_INDEX in held_values and len(held_values) <= 2:
            other = min(held_values - {IGNORE_INDEX}, default=None)
            held = f'{other} and {IGNORE_INDEX}' if other is not None else f'{IGNORE_INDEX} alone'
            raise ValueError(
                f'the label maps hold {held}. {IGNORE_INDEX} is the index of ignored pixels, so '
                f'that of {", ".join(names)} at most one would have a pixel. If {IGNORE_INDEX} is '
                'a class, give the classes the grey levels that stand for them as colours, such '
                'as "palette": [[0, 0, 0], [255, 255, 255]]; else --label-values index'
            )
    return replace(label_format, grey=meaning, grey_rgb=rgb_meaning)


def _meaning(values: set[int], label_format: LabelFormat) -> str:
    greys = label_format.greys
    classes = {v for v in values if v in greys and greys[v] < label_format.num_classes}
    levels = values <= greys.keys() and (len(classes) > 1 or IGNORE_INDEX in classes)
    return 'color' if values and levels else 'index'


def read_labels(path: Path, label_format: LabelFormat) -> np.ndarray:
    """Read a label map, (H, W) uint8: positions in ``label_format.colors``.

    ``OSError``: the file cannot be read. ``ValueError``: it is no complete image, a JPEG without
    ``label_format.jpeg``, of a depth whose values are ambiguous, partly transparent, or holds an
    index or a colour that ``label_format`` does not know. Invisible pixels are ignored.
    """
    with open_image(path) as (image, stored):
        if problem := _format_problem(image, stored, jpeg=label_format.jpeg):
            raise ValueError(f'{path} {problem}')
        if image.format == 'JPEG':
            return _decode_jpeg(path, image, label_format)
        values, alpha = _values(image, label_format), alpha_of(image)
        by_color = values.ndim == 3
        if image.mode in ('P', 'PA'):
            entries = _table_colors(path, image, values, alpha, label_format)
            values = values if entries is None else entries[values]
            by_color = entries is not None
    invisible = np.zeros(values.shape[:2], bool) if alpha is None else alpha == 0
    if alpha is not None:
        try:
            check_alpha(alpha)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
    if by_color and values.ndim == 3 and label_format.grey_rgb == 'index' and _is_grey(values):
        values, by_color = values[..., 0], False
    elif values.ndim == 2 and label_format.grey == 'color' and image.mode not in ('P', 'PA'):
        values, by_color = np.repeat(values[..., None].clip(-1, 256), 3, axis=2), True
    labels = _by_color(values, label_format) if by_color else _by_index(values, label_format)
    labels[invisible] = label_format.num_classes  # the first void colour
    unknown = labels == IGNORE_INDEX
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        raise ValueError(
            f'{path} holds {_describe(values[y, x], label_format)} (at x={x}, y={y}; '
            f'{unknown.sum()} such pixels), {_advice(values[y, x], label_format)}'
        )
    return labels


def _values(image: Image.Image, label_format: LabelFormat) -> np.ndarray:
    """Return what a map stores, (H, W) or (H, W, 3) int32, without alpha.

    One bit is black or white, if both are colours of the palette, and else an index.
    """
    if image.mode == '1' and {0, 255} <= label_format.greys.keys():
        image = image.convert('L')
    if image.mode == 'PA':
        image = image.convert('P')
    values = np.asarray(image).astype(np.int32)
    if image.mode == 'LA':
        return values[..., 0]
    return values[..., :3] if values.ndim == 3 else values


def _is_grey(values: np.ndarray) -> bool:
    return bool((values == values[..., :1]).all())


def _by_index(values: np.ndarray, label_format: LabelFormat) -> np.ndarray:
    table = np.array([*label_format.index_table, IGNORE_INDEX], np.uint8)
    return table[values.clip(-1, 256)]


def _by_color(values: np.ndarray, label_format: LabelFormat) -> np.ndarray:
    known = ((values >= 0) & (values <= 255)).all(-1)
    red, green, blue = np.moveaxis(values.clip(0, 255), -1, 0)
    table = _color_table(label_format.colors, label_format.shared)
    return np.where(known, table[red << 16 | green << 8 | blue], np.uint8(IGNORE_INDEX))


@lru_cache(maxsize=1)
def _color_table(colors: tuple[Color, ...], shared: frozenset[Color]) -> np.ndarray:
    """Return the position of each colour ``R << 16 | G << 8 | B``, (2**24,) uint8."""
    table = np.full(1 << 24, IGNORE_INDEX, np.uint8)
    for position, color in enumerate(colors):
        if color not in shared:
            red, green, blue = color
            table[red << 16 | green << 8 | blue] = position
    return table


def _describe(value: np.ndarray, label_format: LabelFormat) -> str:
    if value.ndim == 0:
        return f'index {value}'
    if label_format.grey == 'color' and len({*value.tolist()}) == 1:
        return f'the grey level {value[0]}'
    return f'the colour {tuple(value.tolist())}'


def _advice(value: np.ndarray, label_format: LabelFormat) -> str:
    if value.ndim:
        if tuple(value.tolist()) in label_format.shared:
            return 'which several classes share. Give index maps'
        return (
            'which the palette lacks. Give a map of exact colours, without blended edges, or add '
            'the colour to palette or void_palette'
        )
    allowed = [i for i, position in enumerate(label_format.index_table) if position < IGNORE_INDEX]
    first, last = allowed[0], allowed[-2]
    hint = ''
    if value == label_format.num_classes and label_format.index_table[0] == 0:
        hint = ' (--reduce-zero-label if 0 is no class, and they are counted from 1)'
    return (
        f'but classes have {first} to {last}, ignored pixels {IGNORE_INDEX}. Fix the map, or name '
        f'the classes and the kind of labels that it was drawn with{hint}'
    )


def _format_problem(image: Image.Image, stored: str, *, jpeg: bool) -> str | None:
    """Return why the loaded values may be others than those that were written."""
    if image.format in ('JPEG', 'MPO'):
        advice = 'Give the lossless original (PNG, TIFF or BMP) or, if there is none, --jpeg-labels'
        return None if jpeg else f'is a JPEG, which alters labels. {advice}'
    if (frames := getattr(image, 'n_frames', 1)) > 1 and image.format != 'TIFF':
        return f'holds {frames} frames, expected one'
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


def _decode_jpeg(path: Path, image: Image.Image, label_format: LabelFormat) -> np.ndarray:
    """Decode the colours of a JPEG by the edge-aware rule; what is unsure becomes void."""
    count = label_format.num_classes
    decoder = _decoder(label_format.colors[:count], label_format.colors[count:])
    bgr = cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)
    try:
        labels = decoder.decode(bgr)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    return np.where(labels == IGNORE_INDEX, np.uint8(count), labels)


@lru_cache(maxsize=1)
def _decoder(palette: tuple[Color, ...], void: tuple[Color, ...]) -> LabelDecoder:
    return LabelDecoder(palette, void_palette=void)


def _table_colors(
    path: Path,
    image: Image.Image,
    values: np.ndarray,
    alpha: np.ndarray | None,
    label_format: LabelFormat,
) -> np.ndarray | None:
    """Return the (256, 3) colours of a table if they tell the classes; None if the indices do.

    The colours do if all that are in use are known. Else an entry in use with the colour of another
    class than its index is a contradiction: some program has packed colours into a table of its own
    order, and its indices would silently become other classes.
    """
    entries = np.full((256, 3), -1, np.int32)
    table = np.array(image.getpalette('RGB')).reshape(-1, 3)
    entries[: len(table)] = table
    known = {c: i for i, c in enumerate(label_format.colors) if c not in label_format.shared}
    shown = values if alpha is None else values[alpha > 0]
    used = np.flatnonzero(np.bincount(shown.ravel(), minlength=256)).tolist()
    meant = {i: known.get(tuple(entries[i].tolist()), -1) for i in used if i < 256}
    if meant and -1 not in meant.values():
        return entries
    for index, position in meant.items():
        other = label_format.index_table[index]
        if 0 <= position < label_format.num_classes and position != other:
            unknown = next(i for i, p in meant.items() if p < 0)
            raise ValueError(
                f'{path}: index {index} of its colour table has the colour of class {position}, '
                f'and index {unknown} has {tuple(entries[unknown].tolist())}, which the palette '
                'lacks. Add that colour to palette or void_palette if the colours are right; save '
                'the map without a table if the indices are'
            )
    return None
