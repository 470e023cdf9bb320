"""Plots of the results of a group: learning curves, and IoU of the classes."""

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

from benchmarks.results_page import class_iou
from benchmarks.run_results import RunResults, distinct_trainings
from pspnet_plugin.toolkit.report.figures import draw_bars
from pspnet_plugin.utils.files import write_atomic

NETWORKS = 3  # whose bars can be told apart


def digest(runs: Sequence[RunResults]) -> str:
    """Digest of the results of a group, by which an outdated plot is recognised."""
    drawn = [{k: v for k, v in asdict(run).items() if k != 'corrupted'} for run in runs]
    content = json.dumps(drawn, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_plots(runs: Sequence[RunResults], folder: Path) -> list[Path]:
    """Write ``curves.png`` and ``classes.png`` of a group, with its digest as their description."""
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in (('curves', draw_curves(runs)), ('classes', draw_classes(runs))):
        file = io.BytesIO()
        figure.savefig(file, dpi=90, format='png', metadata=dict(Description=digest(runs)))
        written.append(folder / f'{name}.png')
        write_atomic(written[-1], file.getvalue())
    return written


def draw_curves(runs: Sequence[RunResults]) -> Figure:
    """Plot the training loss over the pairs seen: a line for each run, a colour for each label."""
    trainings = distinct_trainings(runs)
    labels = list(dict.fromkeys(run.label for run in trainings))
    figure = Figure(figsize=(12, 5), layout='constrained')
    axes = figure.subplots()
    for i, run in enumerate(trainings):
        number = labels.index(run.label)
        steps, values = run.curves['loss']
        batch = run.parts[-1]['batch_size'] * run.parts[-1]['processes']
        axes.plot(
            [step * batch for step in steps], values, color=f'C{number % 10}',
            linestyle=('-', '--', ':')[number // 10 % 3],
            label=run.label if run.label not in (r.label for r in trainings[:i]) else None,
        )  # fmt: skip
    axes.set(xlabel='pairs seen', ylabel='training loss', ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc='outside right upper')
    return figure


def draw_classes(runs: Sequence[RunResults]) -> Figure:
    """Plot the IoU of each class under t40 as bars, of the best networks, means over seeds."""
    networks = defaultdict(list)
    for run in runs:
        networks[run.label].append(run)
    scores = {label: mean(r.score('t40')['mIoU'] for r in own) for label, own in networks.items()}
    best = sorted(scores, key=lambda label: -scores[label])[:NETWORKS]
    iou = {label: class_iou(networks[label], 't40') for label in best}
    columns = {label: np.array([*column.values()]) for label, column in iou.items()}
    return draw_bars(columns, list(iou[best[0]]))
