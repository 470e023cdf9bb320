"""Training by the clock: it ends in time, its schedule follows, and it resumes."""

import re
import time

import pytest
import torch
from conftest import ROOT, on, run_tool, scalars
from mmengine.config import Config
from mmengine.runner import Runner
from training_runs import finish, kill_at, losses, start, write_config

from pspnet_plugin.engine import clock_loop
from pspnet_plugin.engine.run_record_hook import RECORD

CLOCK = """
train_cfg = dict(
    _delete_=True, type='ClockTrainLoop', minutes=0.4, reserve=4, max_iters=1000, val_interval={val}
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=1.0, begin=100, end=1000, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3, max_keep_ckpts=2))
custom_hooks = [dict(type='RunRecordHook')]
"""


@pytest.mark.slow
def test_a_training_ends_in_time_and_its_schedule_with_it(demo_root, tmp_path):
    config = write_config(tmp_path, demo_root, more=CLOCK.format(val=1000))
    began = time.time()
    said = finish(config, tmp_path / 'run')
    took = time.time() - began
    assert 20 < took < 60, 'of 24 seconds, 4 are left for the validation and the end'
    entries = [entry for entry in scalars(tmp_path / 'run') if 'loss' in entry]
    rates = [entry['base_lr'] if 'base_lr' in entry else entry['lr'] for entry in entries]
    assert len(rates) > 5
    peak = rates.index(max(rates))
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)
    assert 0 <= rates[-1] < 0.2 * max(rates), 'the last step is taken near the end of the schedule'
    last = entries[-1]['step']
    assert (tmp_path / 'run' / f'iter_{last}.pth').is_file(), 'the last step is saved'
    assert len(re.findall(r'Iter\(val\).*mIoU', said)) == 1
    estimates = [int(found) for found in re.findall(r'Iter\(train\) \[ *\d+/ *(\d+)\]', said)]
    assert estimates[-1] == last


@pytest.mark.slow
def test_a_killed_one_goes_on_with_the_time_that_is_left(demo_root, tmp_path):
    config = write_config(tmp_path, demo_root, more=CLOCK.format(val=400))
    run = tmp_path / 'run'
    kill_at(start(config, run), run, r'Saving checkpoint at 6 iter')
    spent = torch.load(run / 'iter_3.pth', weights_only=False)['message_hub']['runtime_info']
    left = 20 - spent[clock_loop.CLOCK]
    assert 0 < left < 20
    began = time.time()
    finish(config, run)
    assert time.time() - began < left + 40, 'start and end of a process come on top'
    record = (run / RECORD).read_text()
    assert '"first_iteration": 3' in record
    assert len(losses(run)) == max(losses(run))
    done = max(losses(run))
    said = finish(config, run)
    assert max(losses(run)) == done, 'no time is left for another step'
    assert len(re.findall(r'Iter\(val\).*mIoU', said)) >= 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['train_cfg.minutes=0.3', 'train_cfg.reserve=20'], 'minutes=0.3, reserve=20: expected'),
        (
            ['train_cfg.minutes=0.01', 'train_cfg.reserve=0'],
            'began 0.* minutes ago, and has 0.0 to',
        ),
        (['train_cfg.minutes=5', 'param_scheduler.0.by_epoch=True'], 'OneCycleLR: by_epoch=True'),
    ],
)
def test_what_no_clock_can_drive_is_said(demo_root, tmp_path, options, message):
    options = on(demo_root, 'train_cfg.type=ClockTrainLoop', *options)
    said = run_tool(
        ROOT / 'tools/train.py', 'configs/psp_demo.py', *options, cwd=tmp_path, status=1
    )
    assert re.search(message, said)


def test_a_slow_machine_takes_fewer_steps_by_the_same_rates(demo_root, tmp_path, monkeypatch):
    """The clock is told by the test: a step takes 10 or 25 seconds of 100."""

    def rates(step):
        now = [1000.0]
        monkeypatch.setattr(clock_loop.time, 'time', lambda: now[0])
        monkeypatch.setattr(clock_loop, 'BEGUN', 1000.0)
        more = CLOCK.format(val=1000).replace('minutes=0.4, reserve=4', 'minutes=1.75, reserve=5')
        folder = tmp_path / str(step)
        folder.mkdir()
        config = Config.fromfile(write_config(folder, demo_root, more=more))
        config.work_dir = str(folder / 'run')
        config.train_dataloader.num_workers = 0
        config.train_dataloader.persistent_workers = False
        config.custom_hooks = []
        runner = Runner.from_cfg(config)
        seen = []

        def train_step(data, optim_wrapper):
            seen.append((now[0] - 1000, optim_wrapper.param_groups[0]['lr']))
            now[0] += step
            next(runner.model.parameters()).sum().backward()
            optim_wrapper.step()
            optim_wrapper.zero_grad()
            return dict(loss=torch.zeros(()))

        runner.model.train_step = train_step
        runner.train()
        return dict(seen)

    fast, slow = rates(10), rates(25)
    assert sorted(fast) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sorted(slow) == [0, 25, 50, 75]
    assert slow[50] == pytest.approx(fast[50]) and slow[50] > 0
    assert fast[10] > fast[90] > 0 and fast[0] < fast[10]
