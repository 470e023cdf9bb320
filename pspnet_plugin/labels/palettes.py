"""Palettes by name or from a file: classes, their colours and void colours, as in ``metainfo``."""

import csv
import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from numbers import Real
from pathlib import Path

import numpy as np
import yaml
from mmengine.config import Config
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

IGNORE_INDEX = 255  # of pixels that losses and metrics ignore
# A line of CVAT's labelmap.txt, and one of CamVid's label_colors.txt.
_CVAT = re.compile(r'([^:]+):(\d+),(\d+),(\d+):.*')
_CAMVID = re.compile(r'(\d+)\s+(\d+)\s+(\d+)\s+(\S.*)')
Color = tuple[int, int, int]

# The 19 train classes of stock, and the colours of the others in the official archives: unlabelled
# (also ego vehicle and static), dynamic, ground, parking, rail track, guard rail, bridge, tunnel,
# caravan, trailer.
CITYSCAPES = dict(
    CityscapesDataset.METAINFO,
    void_palette=[
        [0, 0, 0], [111, 74, 0], [81, 0, 81], [250, 170, 160], [230, 150, 140], [180, 165, 180],
        [150, 100, 100], [150, 120, 90], [0, 0, 90], [0, 0, 110],
    ],
)  # fmt: skip
NAMED = ('cityscapes', 'camvid', 'camvid11', 'facades')  # the latter in ``known_sets.yml``


@cache
def _own_sets() -> dict[str, dict]:
    sets = yaml.safe_load(Path(__file__).with_name('known_sets.yml').read_text(encoding='utf-8'))
    return dict(cityscapes=CITYSCAPES, **sets)


def reduces_zero_label(name: str) -> bool:
    """Return whether a stock dataset counts its classes from 1 in index maps, and ignores 0."""
    kind = DATASETS.module_dict.get(name)
    parameter = inspect.signature(kind).parameters.get('reduce_zero_label') if kind else None
    return parameter is not None and parameter.default is True


def known_palettes() -> dict[str, dict]:
    """Return the metainfo of each set of this package, and of each dataset of the framework."""
    stock = {name: getattr(kind, 'METAINFO', {}) for name, kind in DATASETS.module_dict.items()}
    return {
        name: {key: list(meta.get(key, ())) for key in ('classes', 'palette', 'void_palette')}
        for name, meta in (_own_sets() | stock).items()
        if meta.get('classes') and meta.get('palette')
    }


def read_metainfo(source: str, *, option: str = '--palette ') -> dict:
    """Return ``classes``, ``palette`` and ``void_palette`` of a known set or from a file.

    ``source`` is a name in ``known_palettes``, such as ``'camvid'`` or ``'LoveDADataset'``, or a
    ``.json``, ``.yaml`` or ``.py`` file with these keys, the last optional; or a list of classes in
    the form of CVAT (``labelmap.txt``), CamVid (``label_colors.txt``, ``class_dict.csv``) or
    Roboflow (``_classes.csv``, without colours, which are then chosen). ``FileNotFoundError`` if it
    is neither, ``ValueError`` if the file is unusable; ``option`` precedes it in messages.
    """
    if known := known_palettes().get(source):
        return known
    if not Path(source).is_file():
        raise FileNotFoundError(
            f'{option}{source}: no such file. Give {", ".join(NAMED)}, the name of a stock '
            'dataset such as LoveDADataset, or a .json, .yaml or .py file with classes and palette '
            '(RGB of each), and void_palette for colours that are no class; or the labelmap.txt of '
            'CVAT, the _classes.csv of Roboflow.'
        )
    try:
        if source.lower().endswith(('.txt', '.csv')):
            metainfo = _read_list(Path(source))
        elif source.lower().endswith('.json'):  # some editors begin them with a mark
            text = Path(source).read_text(encoding='utf-8-sig')
            metainfo = dict(json.loads(text, object_pairs_hook=_unique_keys))
        else:
            metainfo = Config.fromfile(source).to_dict()
    except Exception as error:  # each format has errors of its own
        reason = ' '.join(str(error).split())
        raise ValueError(f'{option}{source}: {reason}; expected classes and a palette') from None
    try:
        return _check_metainfo(metainfo)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f'{twice[0]} is there twice')
    return dict(pairs)


def _read_list(path: Path) -> dict:
    """Read a text file with a class a line; without colours, far ones are chosen."""
    classes: list[str] = []
    palette: list[list[int]] = []
    as_csv, heading = path.suffix.lower() == '.csv', ['name', 'r', 'g', 'b']
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), 1):
        if not line.strip():
            continue
        row = (
            next(csv.reader([line], skipinitialspace=True)) if as_csv else _split_line(line.strip())
        )
        row = [field.strip() for field in row]
        if number == 1 and as_csv and not any(field.isdecimal() for field in row):
            heading = [field.lower() for field in row]
        elif len(row) == 2 and row[0].isdecimal() and as_csv:  # Roboflow
            if int(row[0]) != len(classes):
                raise ValueError(
                    f'line {number}, {line!r}: expected the pixel value {len(classes)}'
                )
            classes.append(row[1])
        elif (
            len(row) == 4
            and [h[:1] for h in heading] == ['n', 'r', 'g', 'b']
            and all(field.isdecimal() for field in row[1:])
        ):
            classes.append(row[0])
            palette.append([int(field) for field in row[1:]])
        elif as_csv or not line.startswith('#'):
            expected = 'name,r,g,b' if as_csv else 'name:r,g,b:: or r g b name'
            raise ValueError(f'line {number}, {line!r}, is no class; expected {expected}')
    if palette and len(palette) != len(classes):
        raise ValueError('some classes have colours and others none')
    return dict(classes=classes, palette=palette or far_colors([], len(classes)))


def _split_line(line: str) -> list[str]:
    """Return name, red, green and blue of a line of CVAT's or CamVid's list; nothing for others."""
    if match := _CVAT.fullmatch(line):
        return list(match.groups())
    if match := _CAMVID.fullmatch(line):
        *numbers, name = match.groups()
        return [name, *numbers]
    return []


def far_colors(colors: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """Choose colours of a regular grid, each the farthest from the given ones and those before."""
    levels = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), -1).reshape(-1, 3)
    distance = np.full(len(grid), np.inf)
    for color in colors:
        distance = np.minimum(distance, ((grid - np.array(color)) ** 2).sum(-1))
    chosen: list[list[int]] = []
    for _ in range(count):
        chosen.append(grid[distance.argmax()].tolist())
        distance = np.minimum(distance, ((grid - chosen[-1]) ** 2).sum(-1))
    return chosen


def _check_metainfo(metainfo: dict) -> dict:
    if missing := {'classes', 'palette'} - metainfo.keys():
        raise ValueError(f'{" and ".join(sorted(missing))} missing')
    classes = metainfo['classes']
    if not isinstance(classes, list | tuple) or not classes:
        raise ValueError(f'classes = {classes!r}: expected a list of names, one a class')
    for position, name in enumerate(classes):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'classes[{position}] = {name!r}: expected a name, as text in quotes')
    checked: dict[str, list] = dict(classes=list(classes))
    for key in ('palette', 'void_palette'):
        colors = metainfo.get(key, ())
        if not isinstance(colors, list | tuple):
            raise ValueError(f'{key} = {colors!r}: expected a list of colours, each [R, G, B]')
        checked[key] = [list(color) for color in check_colors(colors, name=key)]
    colors_by_class(classes, checked['palette'])
    return checked


def check_unique(classes: Sequence[str]) -> None:
    """Raise ``ValueError`` if a name repeats."""
    if repeated := [name for name, n in Counter(map(str.strip, classes)).items() if n > 1]:
        raise ValueError(f'classes are named twice: {", ".join(repeated)}')


def colors_by_class(classes: Sequence[str], palette: Sequence) -> dict[str, Sequence[int]]:
    """Return the colour of each class; ``ValueError`` if a name repeats or the numbers differ."""
    check_unique(classes)
    if len(classes) != len(palette):
        raise ValueError(
            f'{len(classes)} classes, but {len(palette)} colours in the palette; each class needs '
            'one RGB triple, in the same order'
        )
    return dict(zip(classes, palette, strict=True))


def check_colors(colors: Sequence[Sequence[int]], *, name: str) -> tuple[Color, ...]:
    """Return colours as tuples of ints; ``ValueError`` names the first that is no RGB triple."""
    checked = []
    for position, color in enumerate(colors):
        values = tuple(color) if isinstance(color, Sequence | np.ndarray) else (color,)
        valid = [is_number(v) and v == int(v) and 0 <= v <= 255 for v in values]
        if valid != [True] * 3:
            raise ValueError(
                f'{name}[{position}] = {color!r}: expected three levels of 0..255, RGB'
            )
        red, green, blue = map(int, values)
        checked.append((red, green, blue))
    return tuple(checked)


def is_number(value: object) -> bool:
    """Return whether a value is a finite real number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
