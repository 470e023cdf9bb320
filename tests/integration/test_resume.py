"""A training that was interrupted and resumed equals the undisturbed one, bit for bit."""

import json
import re
import resource
import shutil
from pathlib import Path

import pytest
import torch
from helpers import trainings
from helpers.pairs import ROOT
from helpers.programs import run_tool, scalars

from pspnet_plugin.engine.hooks.run_record_hook import RECORD


@pytest.fixture(scope='module')
def config(demo_root, tmp_path_factory) -> Path:
    return trainings.write_config(tmp_path_factory.mktemp('runs'), demo_root)


@pytest.fixture(scope='module')
def undisturbed(config) -> Path:
    """Work directory of eight iterations, saved every two, validated after four and eight."""
    trainings.finish(config, config.parent / 'undisturbed')
    return config.parent / 'undisturbed'


@pytest.fixture(scope='module')
def killed(config) -> Path:
    """Work directory of a run that was killed in iteration 6, and resumed."""
    run = config.parent / 'killed'
    trainings.die(config, run, at='5')
    assert (run / 'last_checkpoint').read_text().endswith('iter_4.pth')
    trainings.finish(config, run)
    assert trainings.resumed_at(run) == [4]
    return run


def rewound(run: Path, to: Path) -> Path:
    """A copy of an undisturbed run as it was at iteration 6."""
    shutil.copytree(run, to)
    (to / 'iter_8.pth').unlink()
    (to / 'last_checkpoint').write_text(str(to / 'iter_6.pth'))
    return to


def test_killed_run_ends_as_an_undisturbed_one(undisturbed, killed):
    expected = trainings.checkpoint(undisturbed, 8)
    assert len(expected['state_dict']) == len(expected['ema_state_dict']) - 1 > 50
    trainings.assert_same(undisturbed, killed, 8)
    losses = trainings.losses(killed)
    assert losses == trainings.losses(undisturbed)
    assert len(losses) == 8 and len(set(losses.values())) == 8
    names, others = ({path.name for path in run.glob('*.pth')} for run in (killed, undisturbed))
    assert names == others > {'iter_6.pth', 'iter_8.pth'} and 'iter_4.pth' not in names


def test_run_killed_before_a_validation_repeats_it(config, undisturbed, tmp_path):
    run = tmp_path / 'run'
    trainings.die(config, run, at='validation')
    trainings.finish(config, run)
    assert trainings.resumed_at(run) == [4]
    trainings.assert_same(undisturbed, run, 8)
    best, expected = ([p.name for p in r.glob('best*')] for r in (run, undisturbed))
    assert best == expected and len(best) == 1
    scored = [score['iteration'] for score in json.loads((run / RECORD).read_text())['scores']]
    assert scored == [4, 4, 8, 8], 'by two rules each'


def test_a_run_resumes_from_its_own_checkpoint_whatever_it_was_started_from(
    config, undisturbed, tmp_path
):
    foreign = f'load_from={undisturbed / "iter_8.pth"}'
    resumed = rewound(undisturbed, tmp_path / 'resumed')
    trainings.finish(config, resumed, '--cfg-options', foreign)
    assert trainings.resumed_at(resumed) == [6]
    trainings.assert_same(undisturbed, resumed, 8)

    short = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler.0.total_steps=2']
    output = trainings.finish(config, tmp_path / 'new', '--cfg-options', foreign, *short)
    assert str(undisturbed / 'iter_8.pth') in output and not trainings.resumed_at(tmp_path / 'new')
    assert set(trainings.losses(tmp_path / 'new')) == {1, 2}
    new, old = (
        torch.load(path, weights_only=False)['state_dict']['decode_head.conv_seg.bias']
        for path in (tmp_path / 'new/iter_2.pth', undisturbed / 'iter_8.pth')
    )
    assert 0 < abs(new - old).max() < 0.1


def test_a_finished_run_trains_longer_by_a_longer_schedule(config, undisturbed, tmp_path):
    run = Path(shutil.copytree(undisturbed, tmp_path / 'run'))
    longer = ['--cfg-options', 'train_cfg.max_iters=12']
    output = trainings.finish(config, run, *longer, status=1)
    assert 'total_steps' in output and not list(run.glob('iter_1?.pth'))
    longer += ['param_scheduler.0.total_steps=12', 'optim_wrapper.optimizer.weight_decay=0.5']
    longer += ['train_dataloader.dataset.folds=(0,1,2)']
    output = trainings.finish(config, run, *longer)
    assert 'weight_decay=' in output and '(0.5)' in output
    assert re.search(r'trained on 8 images, and there are 3\b', output)
    assert trainings.resumed_at(run) == [8, 8]
    rates = {entry['step']: entry['lr'] for entry in scalars(run) if 'lr' in entry}
    assert all(rates[step] > 1e-4 for step in (9, 10, 11)) and (run / 'iter_12.pth').is_file()


def test_a_run_that_is_stopped_between_saves_is_saved(demo_root, tmp_path):
    more = """
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=1e9, patience=1)]
default_hooks = dict(checkpoint=dict(interval=100))
train_cfg = dict(max_iters=8, val_interval=2)
"""
    config = trainings.write_config(tmp_path, demo_root, more=more)
    trainings.finish(config, tmp_path / 'run')
    last = (tmp_path / 'run/last_checkpoint').read_text()
    assert last == str(tmp_path / 'run/iter_4.pth') and Path(last).is_file()


def test_drawn_seed_is_kept(demo_root, tmp_path):
    more = 'randomness = dict(_delete_=True, seed=None, deterministic=True)'
    config = trainings.write_config(tmp_path, demo_root, more=more)
    trainings.finish(config, tmp_path / 'whole')
    resumed = rewound(tmp_path / 'whole', tmp_path / 'resumed')
    trainings.finish(config, resumed, text=True)  # a new interpreter, which draws another seed
    assert trainings.resumed_at(resumed) == [6]
    trainings.assert_same(tmp_path / 'whole', resumed, 8)


def test_full_disk_ends_the_run_and_keeps_the_last_checkpoint(config, undisturbed, tmp_path):
    run = rewound(undisturbed, tmp_path / 'run')
    # It would remove the best checkpoint of the run that was copied.
    options = ['--cfg-options', 'default_hooks.checkpoint.save_best=None']
    small = (run / 'iter_6.pth').stat().st_size // 2

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (small, small))

    output = trainings.finish(config, run, *options, status=1, preexec_fn=limit)
    last = output.strip().splitlines()[-1]
    assert 'iter_8.pth' in last and str(run / 'iter_6.pth') in last and '--resume' in last
    assert not list(run.glob('.*')), 'no part stays'
    trainings.finish(config, run, *options)
    assert trainings.resumed_at(run) == [6, 6]
    expected, content = trainings.checkpoint(undisturbed, 8), trainings.checkpoint(run, 8)
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert trainings.differences(expected[part], content[part]) == []


def test_record_holds_parts_and_scores_of_a_resumed_run(config, killed):
    run_tool(
        ROOT / 'tools/test.py', config, killed / 'iter_8.pth', '--work-dir', killed,
        env=dict(PYTHONPATH=str(config.parent)),
    )  # fmt: skip
    record = json.loads((killed / RECORD).read_text())
    parts = record['parts']
    assert [(p['first_iteration'], p['last_iteration']) for p in parts] == [(0, 4), (4, 8)]
    assert ['ended' in part for part in parts] == [False, True]
    for part in parts:
        given = (part['config'], part['seed'], part['batch_size'], part['train_pairs'])
        assert given == ('training.py', 3, 2, 8)
        assert part['processor'] and part['cores'] and part['mmseg'] and part['torch']
        assert 0 < part['seconds'] < 600 and 1e8 < part['peak_bytes'] < 1e11

    scores = record['scores']
    assert [score['iteration'] for score in scores] == [4, 4, 8, 8, 0, 0], 'by two rules each'
    assert [score['loop'] for score in scores] == ['val'] * 4 + ['test'] * 2
    for nearest, edge_aware in zip(scores[::2], scores[1::2], strict=True):
        assert nearest['decode'] == dict(rule='nearest', max_distance=40)
        assert edge_aware['decode'] == dict(rule='edge_aware', min_confidence=0.8)
        assert nearest['metrics'].keys() == edge_aware['metrics'].keys()
        assert nearest['metrics']['coverage'] != edge_aware['metrics']['coverage']
        assert nearest['split'] == 'val' and nearest['pairs'] == 3 and nearest['seconds'] >= 0
    first, last, test = scores[::2]
    assert test['checkpoint'] == 'iter_8.pth' and 0 <= test['metrics']['mIoU'] <= 100
    assert test['metrics'] != first['metrics']
    # Scores are of the averaged weights, which ``test.py`` loads too.
    assert test['metrics'] == last['metrics']
