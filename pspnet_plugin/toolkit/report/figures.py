"""Plots of a report: learning curves, IoU of the classes, confusion matrix.

Several runs share a plot, each in its colour, ``C0`` and so on.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pspnet_plugin.apis.drawing import percent
from pspnet_plugin.toolkit.report.evaluation import Evaluation
from pspnet_plugin.toolkit.report.runs import TrainingRun

CURVES = {'loss': 'training loss', 'lr': 'learning rate', 'mIoU': 'mIoU of the validations (%)'}
LEGEND_WIDTH = 190  # letters in a line of the legend of curves
NUMBERED = 0.5  # least percentage that the confusion matrix gives as a number


def draw_curves(runs: Mapping[str, TrainingRun]) -> Figure:
    """Plot loss, learning rate and mIoU over the iterations of runs by name."""
    names = [plain_text(name) for name in runs]
    # A legend below the axes hides no point; names of folders may be long.
    across = max(1, min(len(names), LEGEND_WIDTH // (max(map(len, names)) + 8)))
    figure = Figure(figsize=(13, 3.6 + 0.2 * -(-len(names) // across)), layout='constrained')
    lines = {}  # of the runs that logged anything
    for axes, (key, title) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        values: list[float] = []
        points: list[tuple[float, int, str]] = []
        for number, (name, run) in enumerate(zip(names, runs.values(), strict=True)):
            steps, values = run.scalars(key)
            if not steps:
                continue
            single = len(steps) == 1
            (lines[name],) = axes.plot(
                steps, values, color=f'C{number}', label=name, zorder=3,
                marker='o' if single else '.' if len(steps) < 30 else None,
                markersize=9 if single else None,
                clip_on=False,  # points may lie on the border
            )  # fmt: skip
            if single and np.isfinite(values[0]):
                points.append((values[0], steps[0], f'C{number}'))
        if len(runs) == 1 and values:
            title += f': {values[-1]:.3g} at the end'
        axes.set_title(title if axes.lines else f'{title}: not logged yet', fontsize=10)
        axes.set_xlabel('iteration')
        axes.update_datalim([(0, 0)])  # so that the margins include it
        axes.autoscale_view()
        axes.set_ylim(bottom=min(0, axes.dataLim.y0))
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        _annotate(axes, points)
    if len(runs) > 1 and lines:
        figure.legend(lines.values(), lines, fontsize=8, loc='outside lower center', ncols=across)
    return figure


def _annotate(axes: Axes, points: Sequence[tuple[float, int, str]]) -> None:
    """Write each value (y, x, colour) beside its point, lower than the values of higher points."""
    (_, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    free = np.inf
    for y, x, color in sorted(points, reverse=True):
        free = min((y - bottom) / (top - bottom), free) - 0.09
        side, shift = ('left', 0.05) if x < right / 2 else ('right', -0.05)
        axes.annotate(
            f'{y:#.3g}'.rstrip('.'), (x, y), xytext=(x / right + shift, free),
            textcoords='axes fraction', ha=side, va='center', color=color,
            arrowprops=dict(arrowstyle='-', color=color, lw=0.6),
        )  # fmt: skip


def draw_classes(evaluations: Mapping[str, Evaluation], classes: Sequence[str]) -> Figure:
    """Plot the IoU of each class as bars, with its share of the labelled pixels."""
    confusion = next(iter(evaluations.values())).confusion
    shares = [percent(s, decimals=2) for s in confusion.sum(1) / confusion.sum()]
    labels = [f'{name}  ({share})' for name, share in zip(classes, shares, strict=True)]
    figure = draw_bars({name: e.scores['IoU'] for name, e in evaluations.items()}, labels)
    figure.axes[0].set_xlabel('IoU (%); in brackets the share of the labelled pixels')
    return figure


def draw_bars(iou: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Plot the (K,) IoU of several networks as bars, in the order of the first."""
    order = np.argsort(-np.nan_to_num(next(iter(iou.values())), nan=-1), kind='stable')
    height = 1.2 + 0.3 * len(order) * max(1, len(iou) / 2)
    figure = Figure(figsize=(9, height), layout='constrained')
    axes = figure.subplots()
    thickness = 0.8 / len(iou)
    for number, (name, values) in enumerate(iou.items()):
        at = np.arange(len(order)) + (number - (len(iou) - 1) / 2) * thickness
        bars = axes.barh(at, np.nan_to_num(values[order]), thickness, label=plain_text(name))
        text = ['absent' if np.isnan(value) else f'{value:.1f}' for value in values[order]]
        axes.bar_label(bars, text, padding=3, fontsize=8)
    axes.set_yticks(range(len(order)), [plain_text(labels[i]) for i in order], fontsize=9)
    axes.set_ylim(len(order) - 0.4, -0.6)  # the best on top
    axes.set(xlim=(0, 108), xlabel='IoU (%)')
    axes.grid(axis='x', alpha=0.3)
    if len(iou) > 1:
        axes.legend(fontsize=9, loc='lower right')
    return figure


def draw_confusion(name: str, confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot the percentage of each class's pixels (rows) that is predicted as each (columns)."""
    with np.errstate(invalid='ignore'):
        percentages = np.nan_to_num(100 * confusion / confusion.sum(1, keepdims=True))
    side = 3.2 + 0.42 * len(classes)
    figure = Figure(figsize=(side, side - 0.6), layout='constrained')
    axes = figure.subplots()
    axes.imshow(np.sqrt(percentages), cmap='Blues', vmin=0, vmax=10)
    for row, column in zip(*np.nonzero(percentages >= NUMBERED), strict=True):
        value = percentages[row, column]
        color = 'white' if value > 50 else 'black'
        axes.text(column, row, f'{value:.0f}', ha='center', va='center', color=color, fontsize=8)
    labels = [plain_text(label) for label in classes]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha='right', fontsize=9)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set(xlabel='predicted', ylabel='truth')
    axes.set_title(plain_text(name), fontsize=10)
    return figure


def plain_text(text: str, limit: int = 200) -> str:
    """Make matplotlib show a text as it is (no formula, no hidden legend entry), shortened."""
    if len(text) > limit:
        text = f'{text[: limit // 2]}…{text[-limit // 2 + 1 :]}'
    return ('\u200a' if text.startswith('_') else '') + text.replace('$', r'\$')
