"""A training that was killed and resumed is the training that was not, bit for bit."""

import random
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.pairs import ROOT
from helpers.trainings import (
    IMPORT_DEATH,
    checkpoint,
    die,
    differences,
    finish,
    kill,
    losses,
    start,
    words,
    write_config,
)
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pspnet_plugin.engine.loops.resumable_loop import ResumableTrainLoop
from pspnet_plugin.engine.loops.sampling import PositionSampler, SeededDataset, seed_for_step


class Draws(torch.utils.data.Dataset):
    """Seven samples, each of three random numbers."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def batches(count, *, start=0, workers=0, shuffle=True, ranks=None, monkeypatch=None) -> list:
    """Batches of three, as a training that begins at a sample has them."""
    dataset = SeededDataset(Draws(), seed=5)
    sampler = PositionSampler(dataset, shuffle=shuffle, seed=5)
    sampler.start = start
    loader = iter(DataLoader(dataset, 3, sampler=sampler, num_workers=workers))
    return [torch.stack([part.double() for part in next(loader)]) for _ in range(count)]


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_depend_on_seed_and_position_alone(workers):
    whole = batches(10)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    resumed = batches(5, start=15, workers=workers)
    assert all(map(torch.equal, whole[5:], resumed))
    assert len({b[1:].sum().item() for b in whole}) == 10, 'no two batches are augmented alike'


def test_every_pass_has_each_sample_once_in_an_order_of_its_own():
    indices = torch.cat([b[0] for b in batches(14)]).int().tolist()  # six passes over seven
    passes = [indices[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(p) == list(range(7)) for p in passes)
    assert len(set(map(tuple, passes))) == 6
    unshuffled = torch.cat([b[0] for b in batches(14, shuffle=False)]).int().tolist()
    assert unshuffled == [*range(7)] * 6


def test_ranks_share_the_one_sequence(monkeypatch):
    whole = torch.cat(batches(6), 1)
    module = 'pspnet_plugin.engine.loops.sampling.'
    for ranks in (2, 3):
        parts = []
        monkeypatch.setattr(f'{module}get_world_size', lambda ranks=ranks: ranks)
        for rank in range(ranks):
            monkeypatch.setattr(f'{module}get_rank', lambda rank=rank: rank)
            parts.append(torch.cat(batches(6 // ranks), 1))
        assert torch.equal(torch.stack(parts, 2).flatten(1), whole)


def test_going_on_far_ahead_takes_no_time():
    begun = time.perf_counter()
    batches(1, start=100_000 * 16)
    assert time.perf_counter() - begun < 1


def test_steps_draw_by_seed_process_and_iteration(monkeypatch):
    draws = set()
    for seed, rank, iteration in ((1, 0, 0), (1, 0, 1), (2, 0, 0), (1, 1, 0)):
        monkeypatch.setattr('pspnet_plugin.engine.loops.sampling.get_rank', lambda rank=rank: rank)
        seed_for_step(seed, iteration)
        first = torch.rand(3).tolist()
        seed_for_step(seed, iteration)
        assert torch.rand(3).tolist() == first
        draws.add(tuple(first))
    assert len(draws) == 4


@pytest.mark.parametrize(
    'change',
    [
        dict(sampler=dict(type='ClassAwareSampler')),
        dict(batch_sampler=dict(type='MultiDataSampler')),
    ],
    ids=['sampler', 'batch_sampler'],
)
def test_other_orders_are_refused(change):
    with pytest.raises(ValueError, match='orders the samples itself.*IterBasedTrainLoop'):
        ResumableTrainLoop(SimpleNamespace(seed=0), dict(dataset=Draws(), **change), max_iters=1)
    with pytest.raises(ValueError, match='needs the config'):
        ResumableTrainLoop(SimpleNamespace(seed=0), DataLoader(Draws()), max_iters=1)


def test_a_part_of_the_set_may_be_asked_for():
    runner = Runner.__new__(Runner)
    runner._seed, runner._randomness_cfg = 5, dict(seed=5)
    loader = dict(
        dataset=Draws(), batch_size=3, sampler=dict(type='InfiniteSampler'), num_batch_per_epoch=1
    )
    loop = ResumableTrainLoop(runner, loader, max_iters=1)
    first = next(iter(loop.dataloader))
    assert sorted(first[0]) == [0, 1, 2]


@pytest.fixture(scope='module')
def whole(demo_root, tmp_path_factory):
    """A config, and the work dir of its run that nobody disturbed."""
    folder = tmp_path_factory.mktemp('whole')
    hooks = "custom_hooks = [dict(type='EMAHook', momentum=0.1), dict(type='Die')]"
    config = write_config(folder, demo_root, more=IMPORT_DEATH + hooks)
    finish(config, folder / 'whole')
    return config, folder / 'whole'


def test_a_killed_run_ends_as_one_that_was_not(whole, tmp_path, monkeypatch):
    """Weights, their average, the optimizer, the schedule, logged values; kept checkpoints too."""
    config, whole = whole
    killed = tmp_path / 'killed'
    die(config, killed, monkeypatch, at='5')
    assert (killed / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert 'resumed epoch: 0, iter: 4' in finish(config, killed)
    expected = checkpoint(whole, 8)
    assert len(expected['state_dict']) == len(expected['ema_state_dict']) - 1 > 50
    assert differences(expected, checkpoint(killed, 8)) == []
    assert losses(killed) == losses(whole)
    assert len(losses(killed)) == 8 and len(set(losses(killed).values())) == 8
    names = [sorted(p.name for p in d.glob('*.pth')) for d in (killed, whole)]
    assert names[0] == names[1]
    assert [n for n in names[0] if n.startswith('iter')] == ['iter_6.pth', 'iter_8.pth']


def test_a_run_killed_before_a_validation_makes_up_for_it(whole, tmp_path, monkeypatch):
    config, whole = whole
    killed = tmp_path / 'killed'
    die(config, killed, monkeypatch, at='validation')
    assert 'Iteration 4 was saved before its validation' in finish(config, killed)
    assert differences(checkpoint(whole, 8), checkpoint(killed, 8)) == []
    assert sorted(p.name for p in killed.glob('best*')) == sorted(
        p.name for p in whole.glob('best*')
    )


def test_a_seed_that_nobody_gave_is_kept(demo_root, tmp_path):
    more = 'randomness = dict(_delete_=True, seed=None, deterministic=True)'
    config = write_config(tmp_path, demo_root, more=more)
    finish(config, tmp_path / 'whole')
    resumed = Path(shutil.copytree(tmp_path / 'whole', tmp_path / 'resumed'))
    (resumed / 'iter_8.pth').unlink()
    (resumed / 'last_checkpoint').write_text(str(resumed / 'iter_6.pth'))
    # In a new interpreter, which draws another number.
    assert 'resumed epoch: 0, iter: 6' in finish(config, resumed, text=True)
    assert differences(checkpoint(tmp_path / 'whole', 8), checkpoint(resumed, 8)) == []


@pytest.mark.long
@pytest.mark.parametrize(
    'amp', [False, pytest.param(True, marks=pytest.mark.gpu)], ids=['float32', 'amp']
)
def test_ten_kills_at_random_moments_lose_nothing(demo_root, tmp_path, amp):
    config = write_config(tmp_path, demo_root, iters=120, every=3)
    options = ['--amp'] if amp else []
    begun = time.perf_counter()
    process = start(config, tmp_path / 'whole', *options)
    while 'Iter(train)' not in words(tmp_path / 'whole'):
        time.sleep(0.05)
    starts = time.perf_counter() - begun
    assert process.wait() == 0
    trains = time.perf_counter() - begun - starts
    killed = tmp_path / 'killed'
    for share in np.random.default_rng(amp).uniform(-0.05, 0.12, 10):
        process = start(config, killed, *options)
        time.sleep(starts + share * trains)
        kill(process)
    assert not (killed / 'iter_120.pth').exists(), 'the last kills hit no training'
    finish(config, killed, *options)
    resumed = [int(n) for n in re.findall(r'resumed epoch: 0, iter: (\d+)', words(killed))]
    print(f'10 kills; resumed at {resumed}')
    assert len(set(resumed)) > 3
    assert differences(checkpoint(tmp_path / 'whole', 120), checkpoint(killed, 120)) == []
    assert losses(killed) == losses(tmp_path / 'whole')


def test_our_configs_train_by_the_resumable_loop():

    configs = sorted((ROOT / 'configs').glob('*.py'))
    assert configs
    for path in configs:
        config = Config.fromfile(path)
        assert config.train_cfg.type in ('ResumableTrainLoop', 'ClockTrainLoop'), path
        assert config.default_hooks.checkpoint.type == 'WholeCheckpointHook', path
