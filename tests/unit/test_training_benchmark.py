"""``python -m benchmarks training``: what it asks of a training and reads from its logs."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from pspnet_plugin.engine.hooks.run_record_hook import RECORD


def stand_in(monkeypatch, *, steps, status=0):
    """Trains nothing, and leaves the logs of so many steps, slow in the first half."""

    def run(command, **_):
        folder = Path(command[command.index('--work-dir') + 1])
        (folder / 'x/vis_data').mkdir(parents=True)
        times = [9.0] * (steps // 2) + [0.5] * (steps - steps // 2)
        lines = [json.dumps(dict(step=i, time=t, data_time=0.1)) for i, t in enumerate(times)]
        (folder / 'x/vis_data/scalars.json').write_text('\n'.join(lines))
        part = dict(last_iteration=steps, batch_size=16)
        (folder / RECORD).write_text(json.dumps(dict(parts=[part])))
        commands.append(command)
        return subprocess.CompletedProcess(command, status, '', 'no such folder')

    commands = []
    monkeypatch.setattr(subprocess, 'run', run)
    return commands


def test_pairs_a_second_are_those_of_the_second_half(measure, monkeypatch):
    commands = stand_in(monkeypatch, steps=10)
    options = ['--minutes', '2', '--cfg-options', 'train_dataloader.batch_size=16']
    printed, found = measure('training', 'a.py', 'b.py', *options)
    assert [row['config'] for row in found['rows']] == ['a.py', 'b.py']
    assert '| b.py | 10 | 16 | 32.0 | 0.20 |' in printed
    for option in ('train_cfg.minutes=2.0', 'val_cfg=None', 'train_dataloader.batch_size=16'):
        assert option in commands[0]


@pytest.mark.parametrize(('steps', 'status', 'words'), [(0, 0, 'no step'), (4, 1, 'such folder')])
def test_a_training_that_measures_nothing_is_named(steps, status, words, monkeypatch, capsys):
    stand_in(monkeypatch, steps=steps, status=status)
    assert main(['training', 'a.py']) == 2
    assert 'a.py' in (error := capsys.readouterr().err) and words in error
