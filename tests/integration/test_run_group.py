"""``run_group.py``: what it trains, keeps, skips and refuses."""

import fcntl
import json

import pytest
import yaml
from helpers.programs import on

from benchmarks import corruptions, run_group

CONFIG = 'configs/psp_demo.py'


@pytest.fixture
def group(demo_root):
    """Plan of a group whose first three rows share a training."""
    rows = {
        'base': dict(config=CONFIG, options=['model.decode_head.channels=8']),
        'tested again': dict(of='base', test=[]),
        'flips and scales': dict(of='base', test=['--tta']),
        'two seeds': dict(config=CONFIG, seeds=[3, 4]),
    }
    return dict(cores=1, options=on(demo_root)[1:], runs=rows)


@pytest.fixture
def call(tmp_path, group, capsys):
    """Runs ``run_group.py`` on the group; checks its exit status and returns what it said."""

    def run(*arguments: str, status: int) -> str:
        (tmp_path / 'runs.yml').write_text(yaml.safe_dump(dict(quick=group), sort_keys=False))
        places = {'--runs': 'runs.yml', '--results': 'results', '--work-dirs': 'work_dirs'}
        options = [str(part) for key, name in places.items() for part in (key, tmp_path / name)]
        found = run_group.main(['quick', *options, *arguments])
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output

    return run


def test_rows_are_trained_tested_and_kept(call, group, tmp_path):
    labels = ('base', 'tested again', 'flips and scales')
    call('--only', *labels, status=0)
    results = tmp_path / 'results/quick'
    plain, again, flipped = (
        json.loads((results / f'{label.replace(" ", "-")}_seed0.json').read_text())
        for label in labels
    )
    scores = [run['scores'][-2]['metrics'] for run in (plain, again, flipped)]  # t40
    assert scores[0] == scores[1], 'the same network on the same data'
    assert scores[2] != scores[1]
    assert plain['parameters'] == flipped['parameters']
    assert plain['parts'] == flipped['parts'], 'one training'
    assert plain['parts'][0]['threads'] == plain['parts'][0]['cores'] == 1
    assert {score['loop'] for score in plain['scores']} == {'val'}
    assert flipped['scores'][-1]['loop'] == 'test'
    assert 'model.decode_head.channels=8' in plain['command']
    assert '--tta' in flipped['command'] and '--tta' not in plain['command']
    places = {'--runs': 'runs.yml', '--results': 'results', '--work-dirs': 'work_dirs'}
    where = [str(part) for key, name in places.items() for part in (key, tmp_path / name)]
    assert corruptions.main(['quick', *where, '--only', 'base']) == 0
    corrupted = json.loads((results / 'base_seed0.json').read_text())['corrupted']
    nearest = scores[0]
    clean = {key: nearest[key] for key in ('mIoU', 'aAcc')}
    assert corrupted[corruptions.CLEAN] == pytest.approx(clean, abs=0.02)
    assert corrupted.keys() == corruptions.CORRUPTIONS.keys()
    assert corruptions.main(['quick', *where, '--only', 'flips and scales']) == 2
    kept = plain['scores']
    kept[0]['metrics']['mIoU'] += 1  # as if another training had been kept
    (results / 'base_seed0.json').write_text(json.dumps(plain))
    assert corruptions.main(['quick', *where, '--only', 'base']) == 2
    output = call('--dry-run', status=0)
    assert str(results / 'base_seed0.json') in output and '--tta' not in output
    assert output.count('tools/train.py') == 2, 'of the two seeds'
    (results / 'base_seed0.json').unlink()
    group['runs']['base']['options'] = ['log_level=DEBUG']
    assert str(tmp_path / 'work_dirs/quick/base_seed0') in call('--only', 'base', status=1)


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [(['--only', 'none'], "'none'"), (['--seeds', '7'], '7'),
     (['--only', 'base', '--seeds', '3'], 'quick')],
)  # fmt: skip
def test_unknown_rows_are_named(call, arguments, named):
    assert named in call(*arguments, status=2)


def test_failed_run_is_named_with_its_log(call, group, tmp_path):
    group['options'].append('train_cfg.type=NoLoop')
    log = tmp_path / 'work_dirs/quick/base_seed0/log.txt'
    assert str(log) in call('--only', 'base', status=1) and 'NoLoop' in log.read_text()


def test_faults_are_found_before_a_training(call, group, tmp_path):
    group['runs']['base']['config'] = 'configs/psp_dmeo.py'
    assert 'configs/psp_dmeo.py' in call('--only', 'base', status=2)
    results = tmp_path / 'results/quick'
    results.parent.mkdir()
    results.write_text('')
    assert str(results) in call('--only', 'two seeds', status=2)
    assert not (tmp_path / 'work_dirs').exists()


def test_work_dir_in_use_is_left_alone(call, tmp_path):
    folder = tmp_path / 'work_dirs/quick/base_seed0'
    folder.mkdir(parents=True)
    with (folder / 'log.txt').open('w') as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert str(folder) in call('--only', 'base', status=1)
    assert [path.name for path in folder.iterdir()] == ['log.txt']
