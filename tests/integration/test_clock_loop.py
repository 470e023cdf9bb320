"""Time-limited training ends in time, its schedule follows the clock, and it resumes."""

import json
import math

import pytest
import torch
from helpers.trainings import finish, kill_at, losses, start, write_config
from mmengine.config import Config
from mmengine.runner import Runner

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.engine.loops import clock_loop

CLOCK = """
train_cfg = dict(
    _delete_=True, type='ClockTrainLoop', minutes={minutes}, reserve=5, max_iters=1000,
    val_interval={val},
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0.001, power=1.0, begin={poly}, end=1000, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3, max_keep_ckpts=2))
custom_hooks = [dict(type='RunRecordHook')]
"""


def clock_config(folder, pairs, *, minutes=1.75, val=1000, poly=100):
    """Write a config of 100 seconds of training, if not told otherwise."""
    return write_config(folder, pairs, more=CLOCK.format(minutes=minutes, val=val, poly=poly))


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    """Return a ``Simulation`` of a config in a directory beside it."""
    return lambda path, name='run', **options: Simulation(
        path, tmp_path / name, monkeypatch, **options
    )


class Simulation:
    """Training under a simulated clock, whose steps take so many seconds and learn nothing."""

    def __init__(self, path, folder, monkeypatch, *, resume=False, now=1000.0, **options):
        self.now = now
        monkeypatch.setattr(clock_loop.time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(clock_loop, 'PROCESS_STARTED', now)
        config = Config.fromfile(path, import_custom_modules=False)
        config.merge_from_dict(options)
        config.work_dir, config.resume, config.custom_hooks = str(folder), resume, []
        config.train_dataloader.num_workers = 0
        config.train_dataloader.persistent_workers = False
        self.runner = Runner.from_cfg(config)
        self.runner.model.train_step = self.train_step
        self.rates, self.validated, self.estimates = {}, [], []
        self.began = now

    def train(self, step, *, validation=7.0, fails_at=None):
        self.step, self.fails_at = step, fails_at

        def validate():
            if fails_at == 'validation':
                raise KeyboardInterrupt
            self.validated.append(self.now - self.began)
            self.now += validation

        self.runner._val_loop = self.runner.build_val_loop(self.runner._val_loop)
        self.runner._val_loop.run = validate
        self.runner.train()
        return self

    def train_step(self, data, optim_wrapper):
        spent = self.now - self.began
        if self.fails_at == spent:
            raise KeyboardInterrupt
        self.rates[spent] = optim_wrapper.param_groups[0]['lr']
        self.estimates.append(self.runner.max_iters)
        self.now += self.step
        next(self.runner.model.parameters()).sum().backward()
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return dict(loss=torch.zeros(()))


@pytest.mark.parametrize('poly', [100, 0], ids=['in turn', 'overlapping'])
def test_slow_machine_takes_fewer_steps_by_the_same_rates(demo_root, tmp_path, simulate, poly):
    path = clock_config(tmp_path, demo_root, poly=poly)
    fast = simulate(path, 'fast').train(10)
    slow = simulate(path, 'slow').train(25)
    assert sorted(fast.rates) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sorted(slow.rates) == [0, 25, 50, 75]
    assert slow.rates[50] == pytest.approx(fast.rates[50]) and slow.rates[50] > 0.001
    later = [fast.rates[t] for t in range(10, 100, 10)]
    assert later == sorted(later, reverse=True) and fast.rates[0] < fast.rates[90] < fast.rates[10]
    assert fast.validated == [100] and slow.validated == [100], 'at the end, once'
    assert fast.estimates[2:] == [10] * 8 and slow.estimates[-1] == 4
    assert (tmp_path / 'fast' / 'iter_10.pth').is_file(), 'the last step is saved'


def test_validations_follow_the_schedule_and_are_no_part_of_a_step(demo_root, tmp_path, simulate):
    run = simulate(clock_config(tmp_path, demo_root, val=400)).train(10, validation=9)
    assert run.validated == [40, 89, 108], 'at 40 and 80 seconds or soon after, and at the end'
    assert sorted(run.rates) == [0, 10, 20, 30, 49, 59, 69, 79, 98]
    assert run.estimates[4:] == [9] * 5


def test_last_step_is_saved_if_a_validation_uses_up_the_time(demo_root, tmp_path, simulate):
    path = clock_config(tmp_path, demo_root, val=800)
    run = simulate(path).train(10, validation=30)
    assert run.validated == [80] and run.runner.iter == 8
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('iter_8.pth')
    assert not simulate(path, resume=True, now=5000.0).train(10).rates


@pytest.mark.parametrize('fails_at', [55, 'validation'])
def test_resumed_run_has_the_time_that_its_checkpoint_leaves(
    demo_root, tmp_path, simulate, fails_at
):
    path = clock_config(tmp_path, demo_root, val=600)
    with pytest.raises(KeyboardInterrupt):
        simulate(path).train(5, fails_at=fails_at)
    at = 9 if fails_at == 55 else 12
    again = simulate(path, resume=True, now=5000.0).train(5)
    steps = math.ceil((100 - 5 * at - 7) / 5)  # a validation takes 7 seconds of the rest
    assert again.runner.iter == at + steps
    assert max(again.rates) == 7 + 5 * (steps - 1)
    assert again.validated == [15 if fails_at == 55 else 0, 7 + 5 * steps], 'none is missed'
    third = simulate(path, resume=True, now=9000.0).train(5)
    assert not third.rates and third.runner.iter == at + steps, 'no time is left for another step'


def test_another_time_budget_cannot_resume(demo_root, tmp_path, simulate):
    path = clock_config(tmp_path, demo_root)
    simulate(path).train(25)
    with pytest.raises(ValueError, match='iteration [79]..? .*minutes'):
        simulate(path, resume=True, **{'train_cfg.minutes': 5}).train(25)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'train_cfg.minutes': 0.3, 'train_cfg.reserve': 20}, 'minutes=0.3, reserve=20'),
        ({'train_cfg.minutes': 0.1}, ' 0.2 minutes .* 0.0'),
        ({'param_scheduler.0.by_epoch': True}, 'LinearLR: by_epoch=True'),
        ({'train_cfg.dynamic_intervals': [(0, 1)]}, r'dynamic_intervals=\[\(0, 1\)\]'),
    ],
    ids=['reserve', 'late', 'epochs', 'intervals'],
)
def test_unusable_settings_are_named(demo_root, tmp_path, simulate, options, named):
    run = simulate(clock_config(tmp_path, demo_root), **options)
    run.now += 10
    with pytest.raises(ValueError, match=named):
        run.train(10)


def test_real_training_is_killed_resumed_ended_and_recorded(demo_root, tmp_path):
    config = clock_config(tmp_path, demo_root, minutes=0.35)
    run = tmp_path / 'run'
    kill_at(start(config, run), run, r'Iter\(train\) \[ *7/')
    finish(config, run)
    first, second = json.loads((run / RECORD).read_text())['parts']
    assert first['last_iteration'] == second['first_iteration'] == 6
    assert 'ended' not in first and second['ended']
    done = max(losses(run))
    assert len(losses(run)) == done == second['last_iteration'] > 7
    assert (run / f'iter_{done}.pth').is_file()
