"""Learning curves and scores of classes of collected runs, as pictures."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pspnet_plugin.reporting.collected import CollectedRun


def draw_curves(runs: Sequence[CollectedRun], out: Path) -> None:
    """Loss over the pairs seen, a line a run; IoU of each class beside it, a mark a run.

    Args:
        runs: Of one group.
        out: PNG to write.
    """
    figure = Figure(figsize=(13, 5.5), layout='constrained')
    loss, bars = figure.subplots(1, 2)
    for number, run in enumerate(runs):
        steps, values = run.curves['loss']
        batch = run.parts[-1]['batch_size'] * run.parts[-1]['processes']
        color = f'C{number % 10}'
        name = f'{run.label}, seed {run.seed}'
        loss.plot([step * batch for step in steps], values, color=color, label=name)
        score = run.score('t40') or run.score('edge-aware') or {}
        by_class = {k.partition('.')[2]: v for k, v in score.items() if k.startswith('IoU.')}
        bars.plot(list(by_class.values()), list(by_class), 'o', color=color, alpha=0.7)
    loss.set(xlabel='pairs seen', ylabel='training loss', ylim=(0, None))
    loss.grid(alpha=0.3)
    loss.legend(fontsize=8)
    bars.set(xlabel='IoU (%)', xlim=(0, 100))
    bars.grid(alpha=0.3)
    bars.invert_yaxis()
    figure.savefig(out, dpi=90)
