"""Meaning of the values of a set's label maps: which colour or index stands for which class.

All maps are read as indices into one list of colours: those of the classes, then void.
"""

from collections import Counter
from dataclasses import dataclass, replace

from pspnet_plugin.labels.palettes import IGNORE_INDEX, Color, far_colors

MEANINGS = ('index', 'color')


@dataclass(frozen=True)
class LabelFormat:
    """Meaning of the values that label maps store."""

    colors: tuple[Color, ...]  # RGB of the classes, then of void
    num_classes: int
    index_table: tuple[int, ...]  # position in colors of 256 indices; 255 if one must not occur
    grey: str = 'index'  # what values of one channel are, of ``MEANINGS``
    grey_rgb: str = 'color'  # what RGB maps hold whose pixels are all grey
    table: str = 'index'  # what tells the classes of maps with a colour table
    decided: bool = False  # somebody has said so, whatever colours a table has
    asks: bool = True  # 255 might be the level of a class
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

    @property
    def class_greys(self) -> set[int]:
        """Levels that are colours of classes."""
        return {level for level, i in self.greys.items() if i < self.num_classes}

    def decide(self, meaning: str) -> 'LabelFormat':
        """Return the format of a set whose values have one meaning, of ``MEANINGS``."""
        same = replace(self, grey=meaning, grey_rgb=meaning, table=meaning)
        return replace(same, decided=True, asks=False)


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
