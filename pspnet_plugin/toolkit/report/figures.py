"""The figures of a report: curves, classes, what is taken for what.

Several runs are drawn into one figure, each in its colour, ``C0`` and so on.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pspnet_plugin.toolkit.report.evaluation import Examined
from pspnet_plugin.toolkit.report.work_dirs import RunFolder

CURVES = {'loss': 'training loss', 'lr': 'learning rate', 'mIoU': 'mIoU of the validations (%)'}
# Letters that fit into a line of the legend of curves.
LINE = 190
# Share of the truth's pixels from which on a cell of the confusion matrix has its number.
NAMED = 0.5


def draw_curves(names: Sequence[str], runs: Sequence[RunFolder]) -> Figure:
    """Loss, learning rate and mIoU over the iterations."""
    names = [plain(name) for name in names]
    # Beneath the axes a legend hides no point; names of folders may be long.
    across = max(1, min(len(names), LINE // (max(map(len, names)) + 8)))
    figure = Figure(figsize=(13, 3.6 + 0.2 * -(-len(names) // across)), layout='constrained')
    lines: dict[str, Line2D] = {}  # of the runs that logged anything
    for axes, (key, title) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        values = None
        for number, (name, run) in enumerate(zip(names, runs, strict=True)):
            steps, values = run.scalars(key)
            if steps:
                # Points are shown whole where they lie on the border of the axes.
                points = dict(marker='.' if len(steps) < 30 else None, clip_on=False)
                points |= dict(marker='o', markersize=9) if len(steps) == 1 else {}
                axes.plot(steps, values, color=f'C{number}', label=name, zorder=3, **points)
                lines[name] = Line2D([], [], color=f'C{number}')
        if len(runs) == 1 and values:
            title += f': {values[-1]:.3g} at the end'
        axes.set_title(title if axes.lines else f'{title}: not logged yet', fontsize=10)
        axes.set_xlabel('iteration')
        axes.update_datalim([(0, 0)])  # of which the margins are a part
        axes.autoscale_view()
        axes.set_ylim(bottom=min(0, axes.dataLim.y0))
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        _name_single_points(axes)
    if len(runs) > 1 and lines:
        figure.legend(lines.values(), lines, fontsize=8, loc='outside lower center', ncols=across)
    return figure


def _name_single_points(axes: Axes) -> None:
    """Writes its value beside each line of one point, below it and below those of higher ones."""
    (_, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    free = np.inf
    singles = [line for line in axes.lines if len(line.get_xdata()) == 1]
    points = [line for line in singles if np.isfinite(line.get_ydata()[0])]
    for line in sorted(points, key=lambda line: -line.get_ydata()[0]):
        (x,), (y,) = line.get_xdata(), line.get_ydata()
        at = free = min((y - bottom) / (top - bottom), free) - 0.09
        is_left = x < right / 2
        axes.annotate(
            f'{y:#.3g}'.rstrip('.'), (x, y), xytext=(x / right + (0.05 if is_left else -0.05), at),
            textcoords='axes fraction', ha='left' if is_left else 'right', va='center',
            color=line.get_color(), arrowprops=dict(arrowstyle='-', color=line.get_color(), lw=0.6),
        )  # fmt: skip


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
        bars = axes.barh(at, np.nan_to_num(values), height, color=f'C{number}', label=plain(name))
        text = ['absent' if np.isnan(value) else f'{value:.1f}' for value in values]
        axes.bar_label(bars, text, padding=3, fontsize=8)
    labels = [f'{plain(classes[i])}  ({percent(100 * share[i])})' for i in order]
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
    classes = [plain(label) for label in classes]
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha='right', fontsize=9)
    axes.set_yticks(range(len(classes)), classes, fontsize=9)
    axes.set(xlabel='predicted', ylabel='truth', title=plain(name))
    axes.title.set_fontsize(10)
    return figure


def plain(text: str, most: int = 200) -> str:
    """Text that matplotlib takes as it is: no formula, no hidden legend entry, not too long."""
    if len(text) > most:
        text = f'{text[: most // 2]}…{text[-most // 2 + 1 :]}'
    return ('\u200a' if text.startswith('_') else '') + text.replace('$', r'\$')
