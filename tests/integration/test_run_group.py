"""``run_group.py``: what it trains, keeps, skips and refuses."""

import fcntl
import json

import pytest
import yaml

from benchmarks import run_group

CONFIG = 'configs/psp_demo.py'


@pytest.fixture
def runs(tmp_path, demo_root):
    """A file of a group whose first three rows share a training."""
    splits = ('train', 'val', 'test')
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2']
    options += [f'{split}_dataloader.dataset.data_root={demo_root}' for split in splits]
    rows = {
        'base': dict(config=CONFIG, options=['model.decode_head.channels=8']),
        'tested again': dict(of='base', test=[]),
        'flips and scales': dict(of='base', test=['--tta']),
        'two seeds': dict(config=CONFIG, seeds=[3, 4]),
    }
    path = tmp_path / 'runs.yml'
    content = dict(quick=dict(cores=1, options=options, runs=rows))
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def change(runs, function) -> None:
    content = yaml.safe_load(runs.read_text())
    function(content['quick'])
    runs.write_text(yaml.safe_dump(content))


def call(runs, *arguments):
    folder = runs.parent
    return run_group.main(
        ['quick', '--runs', str(runs), '--results', str(folder / 'results')]
        + ['--work-dirs', str(folder / 'work_dirs'), *arguments]
    )


def test_rows_are_trained_tested_and_kept(runs, capsys):
    labels = ('base', 'tested again', 'flips and scales')
    assert call(runs, '--only', *labels) == 0, capsys.readouterr().err
    results = runs.parent / 'results/quick'
    plain, again, flipped = (
        json.loads((results / f'{label.replace(" ", "-")}_seed0.json').read_text())
        for label in labels
    )
    scores = [run['scores'][-1]['metrics'] for run in (plain, again, flipped)]
    assert scores[0] == scores[1], 'the same network on the same data'
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
    output = capsys.readouterr().out
    assert str(results / 'base_seed0.json') in output and '--tta' not in output
    assert output.count('tools/train.py') == 2, 'of the two seeds'
    (results / 'base_seed0.json').unlink()
    change(runs, lambda group: group['runs']['base'].update(options=['log_level=DEBUG']))
    assert call(runs, '--only', 'base') == 1
    assert str(runs.parent / 'work_dirs/quick/base_seed0') in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [(['--only', 'none'], "'none'"), (['--seeds', '7'], '7'),
     (['--only', 'base', '--seeds', '3'], 'quick')],
)  # fmt: skip
def test_unknown_rows_are_named(runs, capsys, arguments, named):
    assert call(runs, *arguments) == 2
    assert named in capsys.readouterr().err


def test_failed_run_is_named_with_its_log(runs, capsys):
    change(runs, lambda group: group['options'].append('train_cfg.type=NoLoop'))
    assert call(runs, '--only', 'base') == 1
    log = runs.parent / 'work_dirs/quick/base_seed0/log.txt'
    assert str(log) in capsys.readouterr().err and 'NoLoop' in log.read_text()


def test_faults_are_found_before_a_training(runs, capsys):
    change(runs, lambda group: group['runs']['base'].update(config='configs/psp_dmeo.py'))
    assert call(runs, '--only', 'base') == 2
    assert 'configs/psp_dmeo.py' in capsys.readouterr().err
    results = runs.parent / 'results/quick'
    results.parent.mkdir()
    results.write_text('')
    assert call(runs, '--only', 'two seeds') == 2
    assert str(results) in capsys.readouterr().err
    assert not (runs.parent / 'work_dirs').exists()


def test_work_dir_in_use_is_left_alone(runs, capsys):
    folder = runs.parent / 'work_dirs/quick/base_seed0'
    folder.mkdir(parents=True)
    with (folder / 'log.txt').open('w') as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert call(runs, '--only', 'base') == 1
    assert str(folder) in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ['log.txt']
