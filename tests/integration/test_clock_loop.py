"""Training by the clock: it ends in time, its schedule follows, and it resumes."""

import json
import math
import re

import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import on, run_tool
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
    """A config of 100 seconds of training, if no more is said."""
    more = CLOCK.format(minutes=minutes, val=val, poly=poly)
    return write_config(folder, pairs, more=more)


class Told:
    """A training whose clock is told, and whose steps take so many seconds; nothing is learnt."""

    def __init__(self, path, folder, monkeypatch, *, resume=False, now=1000.0, **options):
        self.now = now
        monkeypatch.setattr(clock_loop.time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(clock_loop, 'PROCESS_STARTED', now)
        config = Config.fromfile(path)
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
        build = self.runner.build_val_loop

        def build_val_loop(config):
            loop = build(config)

            def run():
                if fails_at == 'validation':
                    raise KeyboardInterrupt
                self.validated.append(self.now - self.began)
                self.now += validation

            loop.run = run
            return loop

        self.runner.build_val_loop = build_val_loop
        self.runner.train()
        return self

    def train_step(self, data, optim_wrapper):
        gone = self.now - self.began
        if self.fails_at == gone:
            raise KeyboardInterrupt
        self.rates[gone] = optim_wrapper.param_groups[0]['lr']
        self.estimates.append(self.runner.max_iters)
        self.now += self.step
        next(self.runner.model.parameters()).sum().backward()
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return dict(loss=torch.zeros(()))


@pytest.mark.parametrize('poly', [100, 0], ids=['in turn', 'overlapping'])
def test_a_slow_machine_takes_fewer_steps_by_the_same_rates(demo_root, tmp_path, monkeypatch, poly):
    path = clock_config(tmp_path, demo_root, poly=poly)
    fast = Told(path, tmp_path / 'fast', monkeypatch).train(10)
    slow = Told(path, tmp_path / 'slow', monkeypatch).train(25)
    assert sorted(fast.rates) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sorted(slow.rates) == [0, 25, 50, 75]
    assert slow.rates[50] == pytest.approx(fast.rates[50]) and slow.rates[50] > 0.001
    later = [fast.rates[t] for t in range(10, 100, 10)]
    assert later == sorted(later, reverse=True) and fast.rates[0] < fast.rates[90] < fast.rates[10]
    assert fast.validated == [100] and slow.validated == [100], 'at the end, once'
    assert fast.estimates[2:] == [10] * 8 and slow.estimates[-1] == 4
    assert (tmp_path / 'fast' / 'iter_10.pth').is_file(), 'the last step is saved'


def test_validations_follow_the_schedule_and_slow_no_step(demo_root, tmp_path, monkeypatch):
    path = clock_config(tmp_path, demo_root, val=400)
    told = Told(path, tmp_path / 'run', monkeypatch).train(10, validation=9)
    assert told.validated == [40, 89, 108], 'at 40 and 80 seconds or soon after, and at the end'
    assert sorted(told.rates) == [0, 10, 20, 30, 49, 59, 69, 79, 98]
    assert told.estimates[4:] == [9] * 5, 'a step is not thought to take as long'


def test_the_last_step_is_saved_though_a_validation_makes_it_the_last(
    demo_root, tmp_path, monkeypatch
):
    path = clock_config(tmp_path, demo_root, val=800)
    told = Told(path, tmp_path / 'run', monkeypatch).train(10, validation=30)
    assert told.validated == [80] and told.runner.iter == 8
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('iter_8.pth')
    again = Told(path, tmp_path / 'run', monkeypatch, resume=True, now=5000.0).train(10)
    assert not again.rates


@pytest.mark.parametrize('fails_at', [55, 'validation'])
def test_a_killed_one_goes_on_with_the_time_that_its_checkpoint_leaves(
    demo_root, tmp_path, monkeypatch, fails_at
):
    path = clock_config(tmp_path, demo_root, val=600)
    told = Told(path, tmp_path / 'run', monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        told.train(5, fails_at=fails_at)
    at = 9 if fails_at == 55 else 12
    again = Told(path, tmp_path / 'run', monkeypatch, resume=True, now=5000.0).train(5)
    steps = math.ceil((100 - 5 * at - 7) / 5)  # a validation takes 7 seconds of what is left
    assert again.runner.iter == at + steps
    assert max(again.rates) == 7 + 5 * (steps - 1)
    assert again.validated == [15 if fails_at == 55 else 0, 7 + 5 * steps], 'none is lost'
    done = again.runner.iter
    third = Told(path, tmp_path / 'run', monkeypatch, resume=True, now=9000.0).train(5)
    assert not third.rates and third.runner.iter == done, 'no time is left for another step'


def test_another_clock_cannot_go_on(demo_root, tmp_path, monkeypatch):
    path = clock_config(tmp_path, demo_root)
    Told(path, tmp_path / 'run', monkeypatch).train(10)
    longer = {'train_cfg.minutes': 5}
    told = Told(path, tmp_path / 'run', monkeypatch, resume=True, **longer)
    with pytest.raises(ValueError, match='is of iteration 9.. of the schedule, and by the clock'):
        told.train(10)


@pytest.mark.slow
def test_a_real_training_ends_and_is_recorded(demo_root, tmp_path):
    config = clock_config(tmp_path, demo_root, minutes=0.5)
    run = tmp_path / 'run'
    kill_at(start(config, run), run, r'Iter\(train\) \[ *7/')
    finish(config, run)
    first, second = json.loads((run / RECORD).read_text())['parts']
    assert first['last_iteration'] == second['first_iteration'] == 6
    assert 'ended' not in first and second['ended']
    done = max(losses(run))
    assert len(losses(run)) == done == second['last_iteration'] > 7
    assert (run / f'iter_{done}.pth').is_file()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['train_cfg.minutes=0.3', 'train_cfg.reserve=20'], 'minutes=0.3, reserve=20: expected'),
        (['train_cfg.minutes=0.01', 'train_cfg.reserve=0'], 'began .* minutes ago, and has 0.0 to'),
        (['train_cfg.minutes=5', 'param_scheduler.0.by_epoch=True'], 'OneCycleLR: by_epoch=True'),
    ],
)
def test_what_no_clock_can_drive_is_said(demo_root, tmp_path, options, message):
    options = on(demo_root, 'train_cfg.type=ClockTrainLoop', *options)
    said = run_tool(
        ROOT / 'tools/train.py', 'configs/psp_demo.py', *options, cwd=tmp_path, status=1
    )
    assert re.search(message, said)
