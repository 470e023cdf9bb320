"""The curves of a report are those of the log."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mmengine.config import Config

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.figures import draw_curves
from pspnet_plugin.toolkit.report.logs import read_scalars
from pspnet_plugin.toolkit.report.work_dirs import RunFolder, open_run


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
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['\u200a_\\$a\\$b\\$', 'plain']


def run_with(tmp_path, name: str, entries: list[dict]) -> RunFolder:
    """A run without a record that logged these."""
    write_log(tmp_path / name, '20260101_000000', entries)
    return RunFolder(tmp_path / name, Config(), None)


def drawn(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format='png')
    return figure


def test_no_point_is_cut_or_hidden(tmp_path):
    runs = [
        run_with(tmp_path, str(i), [dict(step=s, loss=1.0, lr=0.0, mIoU=0.0) for s in (1, 9)])
        for i in range(3)
    ]
    figure = drawn(draw_curves(['a long name of a folder ' * 4, 'b', 'c'], runs))
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0
    for axes in figure.axes:
        assert axes.get_legend() is None and not box.overlaps(axes.get_tightbbox())
        assert len(axes.lines) == 3
        for line in axes.lines:
            assert not line.get_clip_on() and line.get_marker() == '.'
            assert line.get_zorder() > axes.spines['bottom'].get_zorder()
        assert axes.get_ylim()[0] == 0 and axes.get_xlim()[0] == 0


def test_negative_losses_stay_within_their_axes(tmp_path):
    run = run_with(tmp_path, 'run', [dict(step=s, loss=-float(s)) for s in (1, 2, 3)])
    loss = drawn(draw_curves(['run'], [run])).axes[0]
    assert loss.get_ylim()[0] <= -3 and loss.get_ylim()[1] >= 0


def test_single_points_are_seen_and_told(tmp_path):
    values = dict(low=5.0, high=45.0, near=44.96, same=45.0, unknown=float('nan'))
    runs = [run_with(tmp_path, name, [dict(step=9, mIoU=v)]) for name, v in values.items()]
    figure = drawn(draw_curves(list(values), runs))
    axes = figure.axes[2]
    assert min(line.get_markersize() for line in axes.lines) >= 8
    assert {line.get_marker() for line in axes.lines} == {'o'}
    texts = {text.get_color(): text for text in axes.texts}
    found = {name: texts[f'C{i}'].get_text() for i, name in enumerate(values) if name != 'unknown'}
    assert found == dict(low='5.00', high='45.0', near='45.0', same='45.0')
    words = [Text.get_window_extent(text) for text in axes.texts]
    assert len(words) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(words) for b in words[:i])
    points = axes.transData.transform([line.get_xydata()[0] for line in axes.lines[:4]])
    assert not any(box.contains(*point) for box in words for point in points)
    assert all(axes.bbox.contains(*np.mean(box.get_points(), axis=0)) for box in words)
    rising = run_with(tmp_path, 'rising', [dict(step=s, mIoU=float(s)) for s in (1, 2)])
    assert draw_curves(['rising'], [rising]).axes[2].texts[:] == []


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
