"""Runs read from work dirs: the last training, its parts, scores and logged scalars."""

import json
import os
from pathlib import Path

import pytest
from mmengine.config import Config

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.runs import TrainingRun


def run_of(folder: Path, logs: dict[str, list[dict]]) -> TrainingRun:
    for name, entries in logs.items():
        path = folder / name / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, entries)) + '\n{"loss": 1.0, "st')  # truncated
    return TrainingRun(folder, Config(), None)


def date(year: int) -> str:
    return f'{year}-01-01T00:00:00+00:00'


@pytest.mark.parametrize('logs_are_named', [True, False])
def test_only_the_last_training_of_a_work_dir_counts(tmp_path, logs_are_named):
    parts = [
        dict(started=date(2000), first_iteration=0, last_iteration=9, seconds=600, log='1'),
        dict(started=date(2002), first_iteration=0, last_iteration=2, seconds=60, log='2'),
        dict(started=date(2004), first_iteration=2, seconds=90, log='3'),  # resumed, and running
    ]
    scores = [dict(iteration=9, ended=date(2001)), dict(iteration=2, ended=date(2003))]
    steps = {'1': (8, 9), '2': (1, 2, 3), '3': (3,)}
    logs = {name: [dict(step=s, loss=s / int(name)) for s in steps[name]] for name in steps}
    run = run_of(tmp_path, logs)
    if not logs_are_named:
        del parts[1]['log']
        os.utime(tmp_path / '1/vis_data/scalars.json', (0, 0))
    (tmp_path / RECORD).write_text(json.dumps(dict(parts=parts, scores=scores)))
    assert run.parts == parts[1:] and run.scores == scores[1:]
    assert run.minutes == 2.5 and run.iterations == 2 and run.has_ended is False
    assert run.scalars('loss') == ([1, 2, 3], [0.5, 1.0, 1.0])


def test_entries_after_the_resumed_checkpoint_are_dropped(tmp_path):
    losses = [dict(step=step, loss=float(step)) for step in (100, 200, 300, 400)]
    logs = {
        '1': [*losses, dict(step=200, mIoU=9), dict(step=400, mIoU=8)],
        '2': [dict(step=250, loss=0.5), dict(step=300, loss=0.25)],
        '3': [dict(step=0, mIoU=7)],  # a test
    }
    run = run_of(tmp_path, logs)
    assert run.scalars('loss') == ([100, 200, 250, 300], [100, 200, 0.5, 0.25])
    assert run.scalars('mIoU') == ([0, 200], [7, 9])


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"parts": [', '{"parts": {}, "scores": []}'])
def test_broken_record_is_named(content, tmp_path):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(ValueError) as error:
        _ = run_of(tmp_path, {}).parts
    assert str(tmp_path / RECORD) in str(error.value)
