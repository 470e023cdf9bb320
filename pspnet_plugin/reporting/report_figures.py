"""The figures of a report: curves, classes, what is taken for what, pictures.

Several runs are drawn into one figure, each in its colour, ``C0`` and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pspnet_plugin.datasets.label_codec import IGNORE
from pspnet_plugin.prediction.drawing import colored
from pspnet_plugin.prediction.reading import Picture
from pspnet_plugin.reporting.examined import Examined
from pspnet_plugin.reporting.run_folders import RunFolder

CURVES = {'loss': 'training loss', 'lr': 'learning rate', 'mIoU': 'mIoU of the validations (%)'}
WRONG, RIGHT = (214, 39, 40), (205, 205, 205)
# Share of the truth's pixels from which on a cell of the confusion matrix has its number.
NAMED = 0.5


@dataclass(frozen=True)
class Shown:
    """A picture as it is shown.

    Attributes:
        caption: Why it is.
        picture: Photo and truth.
        predictions: (H, W) class indices, one a run.
    """

    caption: str
    picture: Picture
    predictions: list[np.ndarray]


def draw_curves(names: Sequence[str], runs: Sequence[RunFolder]) -> Figure:
    """Loss, learning rate and mIoU over the iterations."""
    figure = Figure(figsize=(13, 3.6), layout='constrained')
    for axes, (key, title) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        values = None
        for number, (name, run) in enumerate(zip(names, runs, strict=True)):
            steps, values = run.scalars(key)
            if steps:
                marker = '.' if len(steps) < 30 else None
                axes.plot(steps, values, color=f'C{number}', marker=marker, label=_plain(name))
        if len(runs) == 1 and values:
            title += f': {values[-1]:.3g} at the end'
        axes.set_title(title if axes.lines else f'{title}: not logged yet', fontsize=10)
        axes.set_xlabel('iteration')
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        if len(runs) > 1 and axes.lines:
            axes.legend(fontsize=8)
    return figure


def percent(value: float) -> str:
    """Of pixels, with as many digits as are told apart: 99.6 %, 1.3 %, 0.04 %."""
    if 0 < value < 0.01:
        return '< 0.01 %'
    return f'{value:.1f} %' if value >= 10 else f'{value:.2g} %'


def draw_classes(examined: Mapping[str, Examined], classes: Sequence[str]) -> Figure:
    """IoU of each class as bars, the best of the first run first, with its share of the pixels."""
    names, first = list(examined), next(iter(examined.values()))
    order = np.argsort(-np.nan_to_num(first.iou, nan=-1), kind='stable')
    share = first.confusion.sum(1) / first.confusion.sum()
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(classes) * max(1, len(names) / 2)))
    figure.set_layout_engine('constrained')
    axes = figure.subplots()
    height = 0.8 / len(names)
    for number, (name, one) in enumerate(examined.items()):
        values = one.iou[order]
        at = np.arange(len(order)) + (number - (len(names) - 1) / 2) * height
        bars = axes.barh(at, np.nan_to_num(values), height, color=f'C{number}', label=_plain(name))
        text = ['absent' if np.isnan(value) else f'{value:.1f}' for value in values]
        axes.bar_label(bars, text, padding=3, fontsize=8)
    labels = [f'{_plain(classes[i])}  ({percent(100 * share[i])})' for i in order]
    axes.set_yticks(range(len(order)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlim=(0, 108), xlabel='IoU (%); in brackets the share of the labelled pixels')
    axes.grid(axis='x', alpha=0.3)
    if len(names) > 1:
        axes.legend(fontsize=9, loc='lower right')
    return figure


def draw_confusion(name: str, examined: Examined, classes: Sequence[str]) -> Figure:
    """Of the pixels of each class (rows), the percentage that is taken for each (columns)."""
    confusion = examined.confusion
    with np.errstate(invalid='ignore'):
        percent = np.nan_to_num(100 * confusion / confusion.sum(1, keepdims=True))
    side = 3.2 + 0.42 * len(classes)
    figure = Figure(figsize=(side, side - 0.6), layout='constrained')
    axes = figure.subplots()
    axes.imshow(np.sqrt(percent), cmap='Blues', vmin=0, vmax=10)
    for row, column in zip(*np.nonzero(percent >= NAMED), strict=True):
        value = percent[row, column]
        color = 'white' if value > 50 else 'black'
        axes.text(column, row, f'{value:.0f}', ha='center', va='center', color=color, fontsize=8)
    classes = [_plain(label) for label in classes]
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha='right', fontsize=9)
    axes.set_yticks(range(len(classes)), classes, fontsize=9)
    axes.set(xlabel='predicted', ylabel='truth', title=_plain(name))
    axes.title.set_fontsize(10)
    return figure


def draw_pictures(
    names: Sequence[str], rows: Sequence[Shown], classes: Sequence[str], palette: np.ndarray
) -> Figure:
    """Photo, truth and, of each run, prediction and error map, a picture a line."""
    columns = 2 + 2 * len(names)
    heights = [2.6 * r.picture.photo.shape[0] / r.picture.photo.shape[1] + 0.32 for r in rows]
    figure = Figure(figsize=(2.6 * columns, sum(heights) + 1), layout='constrained')
    figure.get_layout_engine().set(
        w_pad=0.02, h_pad=0.06, wspace=0.01, hspace=0.01, rect=(0, 0, 1, 0.99)
    )
    grid = figure.add_gridspec(len(rows) + 1, columns, height_ratios=[*heights, 1])
    for y, row in enumerate(rows):
        parts = [(row.caption, row.picture.photo), ('truth', colored(row.picture.truth, palette))]
        for name, labels in zip(names, row.predictions, strict=True):
            of = f' of {name}' if len(names) > 1 else ''
            parts.append((f'prediction{of}', colored(labels, palette)))
            parts.append((f'errors{of}', _errors(labels, row.picture.truth)))
        for x, (title, picture) in enumerate(parts):
            _show(figure.add_subplot(grid[y, x]), title, picture)
    axes = figure.add_subplot(grid[-1, :])
    axes.axis('off')
    there = _classes_in(rows)
    entries = [(_plain(classes[i]), palette[i] / 255) for i in range(len(classes)) if i in there]
    entries += [('ignored', (0, 0, 0)), ('wrong', np.array(WRONG) / 255)]
    handles = [Patch(color=color, label=label) for label, color in entries]
    axes.legend(handles=handles, loc='center', ncols=min(4 * len(names) + 4, 12), frameon=False)
    return figure


def _plain(text: str, most: int = 200) -> str:
    """Text that matplotlib takes as it is: no formula, no hidden legend entry, not too long."""
    if len(text) > most:
        text = f'{text[: most // 2]}…{text[-most // 2 + 1 :]}'
    return ('\u200a' if text.startswith('_') else '') + text.replace('$', r'\$')


def _show(axes: Axes, title: str, picture: np.ndarray) -> None:
    axes.imshow(picture[..., ::-1], interpolation='nearest')
    axes.set_title(_plain(title, 40), fontsize=9)
    axes.axis('off')


def _errors(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR: wrong pixels red, right ones grey, ignored ones black."""
    picture = np.full((*truth.shape, 3), RIGHT, np.uint8)
    picture[labels != truth] = WRONG
    picture[truth == IGNORE] = 0
    return picture[..., ::-1]


def _classes_in(rows: Sequence[Shown]) -> set[int]:
    maps = [labels for row in rows for labels in (row.picture.truth, *row.predictions)]
    return {int(value) for labels in maps for value in np.unique(labels)} - {IGNORE}
