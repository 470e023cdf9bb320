"""The tool that trains the rows of a table: what it reads, says and keeps."""

import fcntl
import json
import re

import pytest
import yaml

from benchmarks import run_group
from benchmarks.run_plans import read_runs


@pytest.fixture
def runs(tmp_path, demo_root):
    """A file with a group of two rows that share a training."""
    data = [
        f'{split}_dataloader.dataset.data_root={demo_root}' for split in ('train', 'val', 'test')
    ]
    options = [
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2', *data
    ]  # fmt: skip
    config = 'configs/psp_demo.py'
    content = dict(
        quick=dict(
            cores=1,
            options=options,
            runs={
                'base': dict(config=config, options=['model.decode_head.channels=8']),
                'tested again': dict(of='base', test=[]),
                'flips and scales': dict(of='base', test=['--tta']),
                'two seeds': dict(config=config, seeds=[3, 4]),
            },
        )
    )
    path = tmp_path / 'runs.yml'
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def call(runs, *arguments):
    folder = runs.parent
    return run_group.main(
        ['quick', '--runs', str(runs), '--results', str(folder / 'results')]
        + ['--work-dirs', str(folder / 'work_dirs'), *arguments]
    )


@pytest.mark.slow
def test_rows_are_trained_tested_and_kept(runs, capsys):
    labels = ('base', 'tested again', 'flips and scales')
    assert call(runs, '--only', *labels) == 0, capsys.readouterr().err
    results = runs.parent / 'results/quick'
    plain, again, flipped = (
        json.loads((results / f'{label.replace(" ", "-")}_seed0.json').read_text())
        for label in labels
    )
    scores = [run['scores'][-1]['metrics'] for run in (plain, again, flipped)]
    assert scores[0] == scores[1], 'the network that was trained, on the data that it was scored on'
    assert scores[2] != scores[1]
    assert plain['parameters'] == flipped['parameters']
    assert plain['parts'] == flipped['parts'], 'one training'
    assert plain['parts'][0]['threads'] == plain['parts'][0]['cores'] == 1
    assert {score['loop'] for score in plain['scores']} == {'val'}
    assert flipped['scores'][-1]['loop'] == 'test'
    assert 'model.decode_head.channels=8' in plain['command']
    assert '--tta' in flipped['command'] and '--tta' not in plain['command']
    capsys.readouterr()
    assert call(runs, '--dry-run') == 0
    said = capsys.readouterr().out
    assert f'base, seed 0: kept already, {results}/base_seed0.json' in said
    (results / 'base_seed0.json').unlink()
    content = yaml.safe_load(runs.read_text())
    content['quick']['runs']['base']['options'] = ['model.decode_head.channels=16']
    runs.write_text(yaml.safe_dump(content))
    assert call(runs, '--only', 'base') == 1
    assert 'holds a run of other settings' in capsys.readouterr().err
    assert 'two seeds, seed 4' in said and 'base, seed 0:\n' not in said, 'what is kept is left out'


@pytest.mark.parametrize(
    ('change', 'arguments', 'message'),
    [
        (dict(), ['--only', 'none'], "quick has no run 'none'; it has: base, flips"),
        (dict(quick=None, slow=dict(runs={})), [], "has no group 'quick'; there are slow"),
        (
            dict(quick=dict(runs=dict(a=dict(config='c', option=[])))),
            [],
            'quick, a: unknown key option',
        ),
        (dict(quick=dict(runs=dict(a=dict(of='b')))), [], 'quick, a: expected a config, or the'),
        (dict(quick=dict(runs=None)), [], 'quick: it has no runs'),
        (dict(), ['--seeds', '7'], 'quick has no seed 7; it has: 0, 3, 4'),
        (
            dict(quick=dict(runs={'A b': dict(config='c'), 'a-b': dict(config='c')})),
            [],
            'two runs would be kept as quick/a-b_seed0.json',
        ),
    ],
)
def test_what_is_not_there_is_named(runs, capsys, change, arguments, message):
    content = {**yaml.safe_load(runs.read_text()), **change}
    runs.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    assert call(runs, *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('g: [a: {b', 'runs.yml cannot be used: while parsing'),
        ('g: {runs: {a: {config: c}, a: {config: d}}}', "'a' stands there twice"),
        ('g: {runs: {a: {config: c}, b: {of: a}}}', 'g, b: expected a config, or the label'),
        ('g: {runs: {a: {config: c}, b: {of: a, test: [], seeds: [1]}}}', "'a' has no seed 1; it"),
        ('g: {runs: {a: {config: c, options: [randomness.seed=1]}}}', 'what seeds are for'),
        ('g: {runs: {a: 3}}', 'g, a: expected names with values, got 3'),
        ('g: {runs: {a: {config: c}, b: {of: c, test: []}}}', 'g, b: expected a config'),
        ('- g', 'runs.yml: expected names with values'),
        ('on: {}', "has no group 'g'; there are True"),
        ('g: 5', 'g: expected names with values, got 5'),
        ('g: {runs: [a]}', 'g, runs: expected names with values'),
        ('g: {runs: {a: }}', 'g, a: expected names with values, got None'),
        ('g: {runs: {3: {config: c}}}', 'g, 3: expected a text, got 3'),
        ('g: {runs: {a: {config: 7}}}', 'g, a, config: expected a text, got 7'),
        ('g: {runs: {a: {config: c, seeds: 3}}}', 'g, a, seeds: expected a list, got 3'),
        ('g: {runs: {a: {config: c, seeds: [x]}}}', 'seeds: expected a whole number'),
        ('g: {runs: {a: {config: c, seeds: []}}}', 'a seed at least'),
        ('g: {runs: {a: {config: c, options: a=1}}}', "options: expected a list, got 'a=1'"),
        ('g: {runs: {a: {config: c, options: [a]}}}', "options: expected KEY=VALUE, got 'a'"),
        ('g: {runs: {a: {config: c, test: --tta}}}', "test: expected a list, got '--tta'"),
        ('g: {cores: 0, runs: {a: {config: c}}}', 'g: expected cores from 1 up'),
        ("g: {runs: {'?': {config: c}}}", "label '?': they name a folder and a file"),
    ],
)
def test_a_file_that_plans_no_runs_is_explained(text, message, tmp_path):
    path = tmp_path / 'runs.yml'
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_runs(path, 'g')


def test_a_run_that_fails_is_named_with_its_log(runs, capsys):
    content = yaml.safe_load(runs.read_text())
    content['quick']['options'].append('train_cfg.type=NoLoop')
    runs.write_text(yaml.safe_dump(content))
    assert call(runs, '--only', 'base') == 1
    said = capsys.readouterr().err
    assert 'base, seed 0: train.py ended with 1' in said and 'base_seed0/log.txt says why' in said
    assert 'NoLoop' in (runs.parent / 'work_dirs/quick/base_seed0/log.txt').read_text()


def test_what_would_fail_after_a_training_is_noticed_before(runs, capsys):
    content = yaml.safe_load(runs.read_text())
    content['quick']['runs']['base']['config'] = 'configs/psp_dmeo.py'
    runs.write_text(yaml.safe_dump(content))
    assert call(runs, '--only', 'base') == 2
    assert 'base: configs/psp_dmeo.py is missing' in capsys.readouterr().err
    (runs.parent / 'results').mkdir()
    (runs.parent / 'results/quick').write_text('')
    assert call(runs, '--only', 'two seeds') == 2
    assert str(runs.parent / 'results/quick') in capsys.readouterr().err
    assert not (runs.parent / 'work_dirs').exists()


def test_a_folder_that_a_training_is_at_work_in_is_left_alone(runs, capsys):
    folder = runs.parent / 'work_dirs/quick/base_seed0'
    folder.mkdir(parents=True)
    with (folder / 'log.txt').open('w') as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert call(runs, '--only', 'base') == 1
    assert 'or by a training that was left behind by' in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ['log.txt']


def test_a_run_may_be_scored_by_another_config(tmp_path):
    path = tmp_path / 'runs.yml'
    rows = {
        'split': dict(config='a.py', test_config='b.py', test=['--tta']),
        'plain': dict(config='a.py'),
        'again': dict(of='split', test=[]),
    }
    content = dict(group=dict(runs=rows, options=['x=1']))
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    split, plain, again = run_group.read_runs(path, 'group')
    assert again.test_config == 'b.py'
    assert split.training[0] == plain.training[0] == 'a.py'
    assert plain.test is None and plain.test_config == 'a.py'
    assert split.testing('c.pth') == ['b.py', 'c.pth', '--tta', '--cfg-options', 'x=1']
    assert 'tools/test.py b.py CHECKPOINT --tta' in split.command
