"""Learning curves and scores of classes of collected runs, as pictures."""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.figure import Figure

from benchmarks.run_results import CollectedRun, trainings
from pspnet_plugin.utils.jobs import write_atomic

# So many networks can be told apart as bars.
BARS = 3


def digest(runs: Sequence[CollectedRun]) -> str:
    """Of the logs of a group, by which a picture of others shows."""
    logs = json.dumps([asdict(run) for run in runs], sort_keys=True)
    return hashlib.sha256(logs.encode()).hexdigest()[:16]


def write_pictures(runs: Sequence[CollectedRun], folder: Path) -> list[Path]:
    """``curves.png`` and ``classes.png`` of a group, with its digest as their description."""
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in (('curves', draw_curves(runs)), ('classes', draw_class_bars(runs))):
        file = io.BytesIO()
        figure.savefig(file, dpi=90, format='png', metadata=dict(Description=digest(runs)))
        written.append(folder / f'{name}.png')
        write_atomic(written[-1], file.getvalue())
    return written


def draw_curves(runs: Sequence[CollectedRun]) -> Figure:
    """Training loss over the pairs seen of the runs of a group: a line a run, a colour a label."""
    runs = trainings(runs)
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
    return figure


def draw_class_bars(runs: Sequence[CollectedRun]) -> Figure:
    """IoU of each class under t40 as bars, of the best networks of a group, over their seeds."""
    scores = defaultdict(list)
    for run in runs:
        scores[run.label].append(run.score('t40'))
    best = sorted(scores, key=lambda label: -mean(s['mIoU'] for s in scores[label]))[:BARS]
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
    return figure


def _by_class(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over seeds; a class that is nowhere counts as 0 here."""
    return {
        key.partition('.')[2]: float(np.nan_to_num(mean(score[key] for score in scores)))
        for key in scores[0]
        if key.startswith('IoU.')
    }
