"""Schedules fit the length of a training, also where a resumed one is given another."""

from copy import deepcopy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers.pairs import ROOT
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from pspnet_plugin.engine.loops.schedule import (
    check_schedule,
    follow_config,
    report_kept_options,
    schedulers_of,
)

# Of a training of so many iterations.
SCHEDULES = {
    'poly': lambda end: [dict(type='PolyLR', eta_min=0, end=end, by_epoch=False)],
    'cosine': lambda end: [dict(type='CosineAnnealingLR', T_max=end, end=end, by_epoch=False)],
    'one cycle': lambda end: [
        dict(type='OneCycleLR', eta_max=0.1, total_steps=end, by_epoch=False)
    ],
    'warm-up': lambda end: [
        dict(type='LinearLR', start_factor=0.01, end=5, by_epoch=False),
        dict(type='PolyLR', eta_min=0, begin=5, end=end, by_epoch=False),
    ],
}


def runner_of(
    schedulers: list[dict], length: int, optimizer: torch.optim.Optimizer | None = None
) -> SimpleNamespace:
    """A stand-in for the runner of a training, with real schedulers."""
    optimizer = optimizer or torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    runner = SimpleNamespace(
        cfg=Config(dict(param_scheduler=schedulers)), optim_wrapper=OptimWrapper(optimizer),
        max_epochs=1, max_iters=length, _train_loop=None, train_dataloader=[0], warnings=[],
    )  # fmt: skip
    runner.logger = SimpleNamespace(warning=runner.warnings.append)
    runner._build_param_scheduler = partial(Runner._build_param_scheduler, runner)
    runner.build_param_scheduler = partial(Runner.build_param_scheduler, runner)
    runner.param_schedulers = (
        runner.build_param_scheduler(deepcopy(schedulers)) if schedulers else []
    )
    return runner


def train(runner: SimpleNamespace, steps: int) -> list[float]:
    """Step optimizer and schedulers; return the learning rate of each step."""
    rates = []
    for _ in range(steps):
        rates.append(runner.optim_wrapper.param_groups[0]['lr'])
        runner.optim_wrapper.optimizer.step()
        for scheduler in schedulers_of(runner):
            scheduler.step()
    return rates


def resumed(runner: SimpleNamespace, schedulers: list[dict], length: int) -> SimpleNamespace:
    """A runner with another config that has loaded what a checkpoint of the first holds."""
    other = runner_of(schedulers, length)
    other.optim_wrapper.load_state_dict(runner.optim_wrapper.state_dict())
    for new, old in zip(schedulers_of(other), schedulers_of(runner)):  # noqa: B905, as stock
        new.load_state_dict(old.state_dict())
    return other


@pytest.mark.parametrize('kind', SCHEDULES)
@pytest.mark.parametrize('end', [200, 2000])
def test_a_schedule_that_ends_early_is_refused(kind, end):
    make = SCHEDULES[kind]
    for length in (end, 3 * end // 4):
        check_schedule(runner_of(make(end), length), length)
    with pytest.raises(ValueError, match=f'{end * 21 // 20}'):
        check_schedule(runner_of(make(end), end * 21 // 20), end * 21 // 20)


@pytest.mark.parametrize('name', ['psp_cityscapes_pairs', 'psp_large_cityscapes_pairs', 'psp_demo'])
def test_schedules_of_the_zoo_end_with_their_training(name):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    schedulers = config.to_dict()['param_scheduler']
    length = config.train_cfg.max_iters
    check_schedule(runner_of(schedulers, length), length)
    with pytest.raises(ValueError, match=f'{length + length // 10}'):
        check_schedule(runner_of(schedulers, length + length // 10), length + length // 10)


def test_a_constant_rate_and_a_rate_that_stays_are_kept():
    stays = [dict(type='PolyLR', eta_min=1e-5, end=20, by_epoch=False)]
    check_schedule(runner_of(stays, 60), 60)
    check_schedule(runner_of([], 60), 60)


@pytest.mark.parametrize('kind', SCHEDULES)
@pytest.mark.parametrize('done', [1, 7, 20])
def test_a_changed_schedule_goes_on_as_if_it_had_always_been(kind, done):
    make = SCHEDULES[kind]
    before = runner_of(make(20), 20)
    train(before, done)
    runner = resumed(before, make(40), 40)
    follow_config(runner, None)
    assert len(runner.warnings) == 1 and f' {done}:' in runner.warnings[0]
    expected = train(runner_of(make(40), 40), 40)
    assert train(runner, 40 - done) == pytest.approx(expected[done:]) and expected[-2] > 0


@pytest.mark.parametrize('kind', SCHEDULES)
def test_an_equal_schedule_is_left_as_it_was_restored(kind):
    make = SCHEDULES[kind]
    before = runner_of(make(20), 20)
    train(before, 7)
    runner = resumed(before, make(20), 20)
    follow_config(runner, None)
    assert runner.warnings == []
    assert train(runner, 13) == train(before, 13)


def test_frozen_parameters_and_steep_schedules_are_no_reason_to_refuse():
    runner = runner_of(SCHEDULES['poly'](100), 100)
    frozen = torch.nn.Parameter(torch.zeros(1))
    runner.optim_wrapper.optimizer.param_groups.insert(0, dict(params=[frozen], lr=0, initial_lr=0))
    check_schedule(runner, 100)
    for schedule in (
        dict(type='PolyLR', power=6, eta_min=0, end=100),
        dict(type='ExponentialLR', gamma=0.8),
    ):
        check_schedule(runner_of([dict(schedule, by_epoch=False)], 100), 100)


def test_a_schedule_of_epochs_is_refused():
    with pytest.raises(ValueError, match='by_epoch'):
        check_schedule(runner_of([dict(type='PolyLR', end=4, by_epoch=True)], 40), 40)


@pytest.mark.parametrize('swapped', [False, True], ids=['added', 'removed'])
def test_an_added_or_removed_scheduler_is_noticed(swapped):
    schedules = SCHEDULES['warm-up'](20)[:1], SCHEDULES['warm-up'](20)
    first, second = schedules[::-1] if swapped else schedules
    before = runner_of(first, 20)
    train(before, 12)
    runner = resumed(before, second, 20)
    follow_config(runner, None)
    assert len(runner.warnings) == 1
    assert train(runner, 8) == pytest.approx(train(runner_of(second, 20), 20)[12:])


def test_momentum_follows_as_well():
    def make(end):
        momentum = dict(type='LinearMomentum', start_factor=1.0, end_factor=0.5, end=end)
        return [*SCHEDULES['poly'](end), dict(momentum, by_epoch=False)]

    def adam(end):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], 0.1)
        return runner_of(make(end), end, optimizer)

    before = adam(6)
    train(before, 6)
    runner = adam(12)
    runner.optim_wrapper.load_state_dict(before.optim_wrapper.state_dict())
    for new, old in zip(schedulers_of(runner), schedulers_of(before), strict=True):
        new.load_state_dict(old.state_dict())
    follow_config(runner, None)
    train(runner, 6)
    whole = adam(12)
    train(whole, 12)
    betas = [r.optim_wrapper.param_groups[0]['betas'][0] for r in (runner, whole)]
    assert betas[0] == pytest.approx(betas[1]) and betas[1] < 0.9


@pytest.mark.parametrize(
    'more',
    [dict(type='LinearMomentum', end=600), dict(type='MultiStepLR', milestones=[400]),
     dict(type='LinearLR', begin=300, end=600)],
    ids=lambda more: more['type'],
)  # fmt: skip
def test_a_rate_of_0_is_found_beside_other_schedulers(more):
    schedule = [*SCHEDULES['poly'](300), dict(more, by_epoch=False)]
    with pytest.raises(ValueError, match='600'):
        check_schedule(runner_of(schedule, 600), 600)


def test_a_schedule_that_is_given_up_is_undone():
    before = runner_of(SCHEDULES['poly'](20), 20)
    train(before, 15)
    runner = runner_of([], 40)
    runner.optim_wrapper.load_state_dict(before.optim_wrapper.state_dict())
    follow_config(runner, 15)
    assert runner.optim_wrapper.param_groups[0]['lr'] == 0.1 and len(runner.warnings) == 1


def test_a_schedule_that_is_new_begins_where_the_training_is():
    runner = runner_of(SCHEDULES['poly'](40), 40)
    follow_config(runner, 15)
    expected = train(runner_of(SCHEDULES['poly'](40), 40), 40)
    assert train(runner, 25) == pytest.approx(expected[15:])


def test_a_checkpoint_does_not_hide_that_the_config_counts_epochs():
    before = runner_of(SCHEDULES['poly'](20), 20)
    train(before, 5)
    with pytest.raises(ValueError, match='by_epoch'):
        check_schedule(resumed(before, [dict(type='PolyLR', end=12, by_epoch=True)], 40), 40)


@pytest.mark.parametrize('change', [{}, dict(lr=0.3), dict(weight_decay=0.1), dict(momentum=0.8)])
def test_options_that_a_resumed_optimizer_keeps_are_named(change):
    options = dict(lr=0.1, weight_decay=0.0, momentum=0.0)

    def build(config):
        return OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], **config))

    runner = runner_of(SCHEDULES['poly'](9), 9, build(options).optimizer)
    train(runner, 5)
    runner.cfg.optim_wrapper = options | change
    runner.build_optim_wrapper, runner.scale_lr = build, lambda *_: None
    runner.auto_scale_lr = None
    report_kept_options(runner)
    assert len(runner.warnings) == len(change)
    for key, value in change.items():
        assert f'{key}={options[key]} ({value})' in runner.warnings[0]
