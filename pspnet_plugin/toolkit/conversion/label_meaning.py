"""Find whether the values of a set of label maps are class indices or colours.

What grey values and colour tables mean holds for a set as a whole, and is told from its maps.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.toolkit.conversion.label_maps import (
    format_problem,
    is_grey,
    stored_values,
    table_meaning,
    without_ramp,
)
from pspnet_plugin.utils.images import alpha_of, open_image

_LOSSY_INDICES = 40  # JPEGs with no higher value hold indices, not levels


class _Evidence:
    """Values of some label maps of a set, by which their meaning is told."""

    def __init__(self, label_format: LabelFormat) -> None:
        self.label_format = label_format
        self.grey: set[int] = set()
        self.grey_rgb: set[int] = set()
        self.bits = self.has_colors = self.has_tables = False
        self.table_unknown = self.table_differs = False
        self.lossy: set[int] = set()

    def add(self, path: Path) -> None:
        """Look at a map; one that cannot be read is reported where it is converted."""
        try:
            with open_image(path) as (image, stored, lossy):
                if format_problem(image, stored, lossy=lossy and not self.label_format.jpeg):
                    return
                alpha, image = alpha_of(image), without_ramp(image)
                values = stored_values(image)
                shown = values if alpha is None else values[alpha > 0]  # (N,) or (N, 3)
                levels = set(np.unique(shown).tolist())
                if lossy:
                    self.lossy |= levels
                    self.has_colors |= not is_grey(values)
                elif image.mode == '1':
                    self.bits = True
                elif image.mode in ('P', 'PA'):
                    self._add_table(image, values, alpha)
                elif values.ndim == 2:
                    self.grey |= levels
                elif is_grey(shown):
                    self.grey_rgb |= levels
                else:
                    self.has_colors = True
        except (OSError, ValueError):
            return

    def _add_table(self, image: Image.Image, values: np.ndarray, alpha: np.ndarray | None) -> None:
        self.has_tables = True
        _, meant = table_meaning(image, values, alpha, self.label_format)
        if -1 in meant.values():
            self.table_unknown = True
        else:
            table = self.label_format.index_table
            self.table_differs |= any(table[index] != p for index, p in meant.items())

    @property
    def by_table(self) -> bool:
        """Return whether the colours of tables tell the classes, otherwise than the indices."""
        return self.table_differs and not self.table_unknown

    @property
    def undecided(self) -> bool:
        """Return whether all values that are seen may be indices or levels."""
        levels, classes = self.label_format.greys.keys(), self.label_format.class_greys
        grey = self.grey and self.grey <= levels and len(self.grey & classes) < 2 <= len(classes)
        return bool(grey) or (len(self.grey_rgb) == 1 and self.grey_rgb <= levels)


def find_meaning(
    paths: Sequence[Path], label_format: LabelFormat, *, names: Sequence[str], sample: int = 200
) -> LabelFormat:
    """Find whether the values of a set are indices or colours, from some of its maps.

    Greys are levels where the palette has them all, two or more of them as classes (or 255). Tables
    tell by their colours where all that are in use are known. As long as all values are one, which
    may be both, all maps are looked at.

    ``ValueError``: the values have 255, the index of ignored pixels, where it is the level of a
    class too, or where all but one class would have no pixel; or they are JPEGs of indices.
    """
    evidence = _Evidence(label_format)
    first = paths[:: max(len(paths) // sample, 1)]
    for path in first:
        evidence.add(path)
    for path in paths if evidence.undecided else ():
        evidence.add(path)
        if not evidence.undecided:
            break
    levels, classes = label_format.greys.keys(), label_format.class_greys
    grey, grey_rgb = evidence.grey, evidence.grey_rgb
    if evidence.bits and {0, 255} <= classes and grey <= levels:
        grey = grey | {0, 255}
    meaning, rgb_meaning = _meaning(grey, label_format), _meaning(grey_rgb, label_format)
    indices = {i for i, p in enumerate(label_format.index_table) if p < IGNORE_INDEX}
    if evidence.has_colors or grey_rgb <= levels or not grey_rgb <= indices:
        rgb_meaning = 'color'
    by_color = evidence.has_colors or evidence.by_table or (grey_rgb and rgb_meaning == 'color')
    if by_color and (grey <= levels or len(grey) == 1):  # a set has one meaning
        meaning = 'color'
    sure = len((grey | grey_rgb) - levels) > 1  # other values than levels
    for values, kind in ((grey, meaning), (grey_rgb, rgb_meaning)):
        few, is_class = len(values) <= 2, IGNORE_INDEX in classes and not sure
        if kind == 'index' and IGNORE_INDEX in values and (few or is_class):
            shown = ', '.join(map(str, sorted(values)[:5])) + (' …' if len(values) > 5 else '')
            named = ', '.join(names[:4]) + (' …' if len(names) > 4 else '')
            raise ValueError(
                f'the label maps hold {shown}. If {IGNORE_INDEX} is the index of ignored pixels, '
                f'give --label-values index. If it stands for one of {named}, give their grey '
                'levels as colours, such as "palette": [[0, 0, 0], [255, 255, 255]], and '
                '--label-values color'
            )
    brightest = max(map(max, label_format.colors[: label_format.num_classes]))
    if evidence.lossy and max(evidence.lossy) <= _LOSSY_INDICES < brightest:
        raise ValueError(
            f'the label maps are compressed with loss and hold values up to {max(evidence.lossy)}: '
            'numbers of classes do not survive that. Give the lossless originals'
        )
    table = (
        'color' if evidence.by_table or (evidence.has_colors and evidence.has_tables) else 'index'
    )
    found = replace(label_format, grey=meaning, grey_rgb=rgb_meaning, table=table)
    return replace(found, asks=not sure)


def _meaning(values: set[int], label_format: LabelFormat) -> str:
    classes = values & label_format.class_greys
    levels = values <= label_format.greys.keys() and (len(classes) > 1 or IGNORE_INDEX in classes)
    return 'color' if values and levels else 'index'
