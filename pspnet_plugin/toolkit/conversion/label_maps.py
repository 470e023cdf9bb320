"""Label maps in the formats of other data sets, read from their files.

A label map stores class indices (one channel of 8 or 16 bits, a PNG with a colour table, or grey
RGB) or exact colours (RGB, the table's, or grey levels); ``LabelFormat`` tells which.
"""

import re
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.utils.images import DEEP_MODES, alpha_of, check_alpha, open_image

INDEX_MODES = ('1', 'L', 'LA', 'P', 'PA', 'I', 'I;16', 'I;16B')
COLOR_MODES = ('RGB', 'RGBA')
# Raw modes of grey that Pillow silently stretches to 0 ... 255.
_STRETCHED = re.compile(r'L;[24].*')
_NEAR = 16  # levels between a colour and what a conversion of profiles makes of it


def read_labels(path: Path, label_format: LabelFormat) -> np.ndarray:
    """Read a label map, (H, W) uint8: positions in ``label_format.colors``.

    ``OSError``: the file cannot be read. ``ValueError``: it is no complete image, compressed with
    loss without ``label_format.jpeg``, of a depth whose values are ambiguous, partly transparent,
    or holds an index or a colour that ``label_format`` does not know. Invisible pixels are ignored.
    """
    with open_image(path) as (image, stored, lossy):
        if problem := format_problem(image, stored, lossy=lossy and not label_format.jpeg):
            raise ValueError(f'{path} {problem}')
        alpha, image = alpha_of(image), without_ramp(image)
        try:
            if alpha is not None:
                check_alpha(alpha)
            if lossy:
                labels = _decode_lossy(image, label_format)
            else:
                values = _meant_values(image, alpha, label_format)
                by_color = values.ndim == 3
                labels = (_by_color if by_color else _by_index)(values, label_format)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
    if alpha is not None:
        labels[alpha == 0] = label_format.num_classes  # the first void colour
    unknown = labels == IGNORE_INDEX
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        raise ValueError(
            f'{path} holds {_describe(values[y, x], label_format)} (at x={x}, y={y}; '
            f'{unknown.sum()} such pixels), {_advice(values[y, x], label_format)}'
        )
    return labels


def _meant_values(
    image: Image.Image, alpha: np.ndarray | None, label_format: LabelFormat
) -> np.ndarray:
    """Return the (H, W) indices or the (H, W, 3) colours that tell the classes of a map.

    ``ValueError``: it contradicts the meaning of its set.
    """
    values = stored_values(image)
    if image.mode in ('P', 'PA'):
        entries, meant = table_meaning(image, values, alpha, label_format)
        if label_format.table == 'color':
            return entries[values]
        if not label_format.decided:
            _check_table(entries, meant, label_format)
        return values
    if values.ndim == 3:
        shown = values if alpha is None else values[alpha > 0]
        by_index = label_format.grey_rgb == 'index' and is_grey(shown)
        return values[..., 0] if by_index else values
    if label_format.grey == 'color':
        levels = values * IGNORE_INDEX if image.mode == '1' else values.clip(-1, 256)
        return np.repeat(levels[..., None], 3, axis=2)
    ambiguous = label_format.asks and IGNORE_INDEX in label_format.class_greys
    visible = True if alpha is None else alpha > 0
    if ambiguous and ((values == IGNORE_INDEX) & visible).any():
        raise ValueError(
            f'it holds {IGNORE_INDEX}, the index of ignored pixels and the grey level of a class, '
            'and others of the set hold numbers. Give --label-values index or color'
        )
    return values


def without_ramp(image: Image.Image) -> Image.Image:
    """Return a map with a table in which each index is its own grey as one without a table."""
    table = image.getpalette('RGB') if image.mode == 'P' else None
    if not table or table != [level for level in range(len(table) // 3) for _ in range(3)]:
        return image
    return Image.fromarray(np.asarray(image))


def stored_values(image: Image.Image) -> np.ndarray:
    """Return what a map stores, (H, W) or (H, W, 3) int32, without alpha."""
    if image.mode == 'PA':
        image = image.convert('P')
    values = np.asarray(image).astype(np.int32)
    if image.mode == 'LA':
        return values[..., 0]
    return values[..., :3] if values.ndim == 3 else values


def is_grey(values: np.ndarray) -> bool:
    """Return whether the red, green and blue of each pixel are equal."""
    return values.ndim == 2 or bool((values == values[..., :1]).all())


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
    table = label_format.index_table
    classes = [i for i, position in enumerate(table) if position < label_format.num_classes]
    ignored = [i for i, p in enumerate(table) if label_format.num_classes <= p < IGNORE_INDEX]
    first, last = classes[0], classes[-1]
    hint = ''
    if value == label_format.num_classes and label_format.index_table[0] == 0:
        hint = ' (--reduce-zero-label if 0 is no class, and they are counted from 1)'
    elif len(label_format.class_greys) > 1 and last < value < IGNORE_INDEX:
        hint = ' (if it is a grey of blended edges, save the map without antialiasing)'
    return (
        f'but classes have {first} to {last}, ignored pixels {", ".join(map(str, ignored))}. Fix '
        'the map, or name '
        f'the classes and the kind of labels that it was drawn with{hint}'
    )


def format_problem(image: Image.Image, stored: str, *, lossy: bool) -> str | None:
    """Return why the loaded values may be others than those that were written."""
    if lossy:
        return (
            f'is a {image.format} whose compression alters labels. Give the lossless original '
            '(PNG, TIFF or BMP) or, if there is none, --jpeg-labels'
        )
    if image.format in ('JPEG', 'MPO'):
        return None
    if (frames := getattr(image, 'n_frames', 1)) > 1 and image.format != 'TIFF':  # overviews
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


def _decode_lossy(image: Image.Image, label_format: LabelFormat) -> np.ndarray:
    """Decode colours that a JPEG has blurred by the edge-aware rule; the unsure become void."""
    if label_format.shared or (label_format.decided and label_format.grey == 'index'):
        raise ValueError(
            'it is compressed with loss, and only colours of one class each survive that. Give the '
            'lossless original, or a palette by which it is coloured'
        )
    count = label_format.num_classes
    decoder = _decoder(label_format.colors[:count], label_format.colors[count:])
    labels = decoder.decode(cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR))
    return np.where(labels == IGNORE_INDEX, np.uint8(count), labels)


@lru_cache(maxsize=1)
def _decoder(palette: tuple[Color, ...], void: tuple[Color, ...]) -> LabelDecoder:
    return LabelDecoder(palette, void_palette=void)


def table_meaning(
    image: Image.Image, values: np.ndarray, alpha: np.ndarray | None, label_format: LabelFormat
) -> tuple[np.ndarray, dict[int, int]]:
    """Return the (256, 3) colours of a table, and the position of the colour of each used index.

    The position is -1 where the palette lacks the colour.
    """
    entries = np.full((256, 3), -1, np.int32)
    table = np.array(image.getpalette('RGB')).reshape(-1, 3)
    entries[: len(table)] = table
    known = {c: i for i, c in enumerate(label_format.colors) if c not in label_format.shared}
    shown = values if alpha is None else values[alpha > 0]
    used = np.flatnonzero(np.bincount(shown.ravel(), minlength=256)).tolist()
    return entries, {i: known.get(tuple(entries[i].tolist()), -1) for i in used if i < 256}


def _check_table(entries: np.ndarray, meant: dict[int, int], label_format: LabelFormat) -> None:
    """Raise ``ValueError`` for an index with about the colour of another class than its own.

    Or with the colour of void, or with an unknown one beside colours of classes. Some program has
    packed colours into a table of its own order then, and the indices would silently become other
    classes.
    """
    count = label_format.num_classes
    colors = np.array(label_format.colors[:count])
    # Black and greys may be there by chance.
    in_colors = any(
        position < count and len({*entries[index].tolist()}) > 1
        for index, position in meant.items()
        if position >= 0
    )
    for index, position in meant.items():
        own = label_format.index_table[index]
        if position < 0:
            distances = np.linalg.norm(colors - entries[index], axis=1)
            nearest = int(distances.argmin())
            near_own = own < count and distances[own] <= distances[nearest]
            if distances[nearest] <= _NEAR:
                position = own if near_own else nearest
            elif not in_colors:
                position = own
        if position != own and (own < count or 0 <= position < count):
            which = 'the palette lacks' if position < 0 else 'is void'
            if 0 <= position < count:
                which = f'is about that of class {position}'
            unknown = [tuple(entries[i].tolist()) for i, p in meant.items() if p < 0]
            reason = (
                f', and the palette lacks its {unknown[0]}' if unknown and position >= 0 else ''
            )
            raise ValueError(
                f'index {index} of its table has the colour {tuple(entries[index].tolist())}, '
                f'which {which}{reason}. If colours are right, add missing ones to the palette, or '
                'give --label-values color; if indices: --label-values index'
            )
