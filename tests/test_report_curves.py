"""The curves of a report are those of the log."""

import io
import json
import os
import shutil

import pytest

from pspnet_plugin.engine.run_record_hook import RECORD
from pspnet_plugin.reporting.logs import read_scalars
from pspnet_plugin.reporting.report_figures import draw_curves
from pspnet_plugin.reporting.run_folders import open_run


def test_curves_are_those_of_the_log(trained):
    run = open_run(trained)
    loss, rate, score = draw_curves(['run'], [run]).axes
    for axes, key in ((loss, 'loss'), (rate, 'lr'), (score, 'mIoU')):
        (line,) = axes.lines
        assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == run.scalars(key), key
    assert loss.lines[0].get_xdata().tolist() == [1, 2]


def test_names_are_no_formulas(trained):
    run = open_run(trained)
    figure = draw_curves(['_$a$b$', 'plain'], [run, run])
    figure.savefig(io.BytesIO(), format='png')
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert legends and all(len(legend.get_texts()) == 2 for legend in legends)


def write_log(work_dir, name: str, entries: list[dict]) -> None:
    path = work_dir / name / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(entry) for entry in entries))


def test_what_was_lost_by_an_interruption_is_in_no_curve(tmp_path):
    losses = [dict(step=step, loss=float(step)) for step in (100, 200, 300, 400)]
    write_log(
        tmp_path, '20260101_000000', [*losses, dict(step=200, mIoU=9), dict(step=400, mIoU=8)]
    )
    write_log(tmp_path, '20260102_000000', [dict(step=250, loss=0.5), dict(step=300, loss=0.25)])
    write_log(tmp_path, '20260103_000000', [dict(step=0, mIoU=7)])  # a test
    assert read_scalars(tmp_path, 'loss') == ([100, 200, 250, 300], [100, 200, 0.5, 0.25])
    assert read_scalars(tmp_path, 'mIoU') == ([0, 200], [7, 9])


@pytest.mark.parametrize('named', [True, False], ids=['by name', 'by date'])
def test_logs_of_an_earlier_training_are_in_no_curve(trained, tmp_path, named):
    work_dir = shutil.copytree(trained, tmp_path / 'run')
    write_log(work_dir, '20200101_000000', [dict(step=9, loss=9.0, lr=1.0)])
    record = json.loads((work_dir / RECORD).read_text())
    assert (work_dir / record['parts'][0]['log'] / 'vis_data/scalars.json').is_file()
    if not named:
        del record['parts'][0]['log']
        (work_dir / RECORD).write_text(json.dumps(record))
        os.utime(work_dir / '20200101_000000/vis_data/scalars.json', (0, 0))
    assert open_run(work_dir).scalars('loss')[0] == [1, 2]
