"""Learning curves and scores of classes of collected runs, as pictures."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.figure import Figure

from pspnet_plugin.reporting.collected import CollectedRun

# So many networks can be told apart as bars.
BARS = 3


def draw_curves(runs: Sequence[CollectedRun], out: Path) -> None:
    """Training loss over the pairs seen, a line a run, a colour a label.

    Args:
        runs: Of one group.
        out: PNG to write.
    """
    trained: dict[str, CollectedRun] = {}
    for run in runs:  # some are another's training, tested in another way
        trained.setdefault(json.dumps(run.parts), run)
    runs = list(trained.values())
    labels = list(dict.fromkeys(run.label for run in runs))
    figure = Figure(figsize=(12, 5), layout='constrained')
    axes = figure.subplots()
    for run in runs:
        number = labels.index(run.label)
        steps, values = run.curves['loss']
        batch = run.parts[-1]['batch_size'] * run.parts[-1]['processes']
        first = run is next(one for one in runs if one.label == run.label)
        axes.plot(
            [step * batch for step in steps], values, color=f'C{number % 10}',
            linestyle=('-', '--', ':')[number // 10 % 3], label=run.label if first else None,
        )  # fmt: skip
    axes.set(xlabel='pairs seen', ylabel='training loss', ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc='outside right upper')
    figure.savefig(out, dpi=90)


def draw_class_bars(runs: Sequence[CollectedRun], out: Path) -> None:
    """IoU of each class under t40 as bars, of the best networks, over their seeds.

    Args:
        runs: Of one group.
        out: PNG to write.
    """
    scores = defaultdict(list)
    for run in runs:
        scores[run.label].append(run.score('t40'))
    best = sorted(scores, key=lambda label: -mean(s['mIoU'] for s in scores[label]))[:BARS]
    if not best:
        return
    columns = {label: _by_class(scores[label]) for label in best}
    first = columns[best[0]]
    order = sorted(first, key=first.get, reverse=True)
    figure = Figure(figsize=(8, 1.2 + 0.16 * len(order) * (1 + len(best))), layout='constrained')
    axes = figure.subplots()
    height = 0.8 / len(best)
    for number, label in enumerate(best):
        at = np.arange(len(order)) + (number - (len(best) - 1) / 2) * height
        axes.barh(at, [columns[label][name] for name in order], height, label=label)
    axes.set_yticks(range(len(order)), order)
    axes.invert_yaxis()
    axes.set(xlabel='IoU (%)', xlim=(0, 100))
    axes.grid(axis='x', alpha=0.3)
    axes.legend(fontsize=8, loc='lower right')
    figure.savefig(out, dpi=90)


def _by_class(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over seeds; a class that is nowhere counts as 0 here."""
    return {
        key.partition('.')[2]: float(np.nan_to_num(mean(score[key] for score in scores)))
        for key in scores[0]
        if key.startswith('IoU.')
    }
