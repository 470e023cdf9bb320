"""Samples and steps draw by seed and position, whatever came before."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pspnet_plugin.engine.loops import sampling
from pspnet_plugin.engine.loops.resumable_loop import ResumableTrainLoop
from pspnet_plugin.engine.loops.sampling import PositionSampler, SeededDataset, seed_for_step


class Draws(torch.utils.data.Dataset):
    """Seven samples, each of three random numbers."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def batches(count, *, start=0, workers=0, shuffle=True) -> list[torch.Tensor]:
    """Batches of three, as a training has them that resumes at a sample."""
    dataset = SeededDataset(Draws(), seed=5)
    sampler = PositionSampler(dataset, shuffle=shuffle, seed=5)
    sampler.start = start
    loader = iter(DataLoader(dataset, 3, sampler=sampler, num_workers=workers))
    return [torch.stack([part.double() for part in next(loader)]) for _ in range(count)]


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_depend_on_seed_and_position_alone(workers):
    all_batches = batches(10)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    resumed = batches(5, start=15, workers=workers)
    assert all(map(torch.equal, all_batches[5:], resumed))
    assert len({b[1:].sum().item() for b in all_batches}) == 10, 'each is augmented differently'


def test_every_pass_has_each_sample_once_in_an_order_of_its_own():
    indices = torch.cat([b[0] for b in batches(14)]).int().tolist()  # six passes over seven
    passes = [indices[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(p) == list(range(7)) for p in passes)
    assert len(set(map(tuple, passes))) == 6
    unshuffled = torch.cat([b[0] for b in batches(14, shuffle=False)]).int().tolist()
    assert unshuffled == [*range(7)] * 6


@pytest.mark.parametrize('ranks', [2, 3])
def test_ranks_share_one_sequence(ranks, monkeypatch):
    whole = torch.cat(batches(6), 1)
    parts = []
    monkeypatch.setattr(sampling, 'get_world_size', lambda: ranks)
    for rank in range(ranks):
        monkeypatch.setattr(sampling, 'get_rank', lambda rank=rank: rank)
        parts.append(torch.cat(batches(6 // ranks), 1))
    assert torch.equal(torch.stack(parts, 2).flatten(1), whole)


def test_resuming_far_ahead_draws_nothing_before_it(monkeypatch):
    passes = []

    def permutation(size, *, seed, number):
        passes.append(number)
        return np.arange(size)

    monkeypatch.setattr(sampling, 'permutation', permutation)
    batches(1, start=7 * 100_000)
    assert passes == [100_000]


def test_steps_draw_by_seed_rank_and_iteration(monkeypatch):
    draws = set()
    for seed, rank, iteration in ((1, 0, 0), (1, 0, 1), (2, 0, 0), (1, 1, 0)):
        monkeypatch.setattr(sampling, 'get_rank', lambda rank=rank: rank)
        seed_for_step(seed, iteration)
        first = torch.rand(3).tolist()
        seed_for_step(seed, iteration)
        assert torch.rand(3).tolist() == first
        draws.add(tuple(first))
    assert len(draws) == 4


@pytest.mark.parametrize(
    ('loader', 'named'),
    [
        (dict(dataset=Draws(), sampler=dict(type='ClassAwareSampler')), 'ClassAwareSampler'),
        (dict(dataset=Draws(), batch_sampler=dict(type='MultiDataSampler')), 'MultiDataSampler'),
        (DataLoader(Draws()), 'DataLoader'),
    ],
    ids=['sampler', 'batch_sampler', 'built'],
)
def test_loaders_of_another_order_are_refused(loader, named):
    with pytest.raises(ValueError, match=named):
        ResumableTrainLoop(SimpleNamespace(seed=0, _load_from=None), loader, max_iters=1)


def test_num_batch_per_epoch_limits_the_set():
    runner = Runner.__new__(Runner)
    runner._load_from = None
    runner._seed, runner._randomness_cfg = 5, dict(seed=5)
    loader = dict(
        dataset=Draws(), batch_size=3, sampler=dict(type='InfiniteSampler'), num_batch_per_epoch=1
    )
    loop = ResumableTrainLoop(runner, loader, max_iters=1)
    first = next(iter(loop.dataloader))
    assert sorted(first[0]) == [0, 1, 2]
