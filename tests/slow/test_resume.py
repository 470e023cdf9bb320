"""Kills at many moments of a training."""

import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import trainings


@pytest.mark.parametrize('amp', [False, pytest.param(True, marks=pytest.mark.gpu)])
def test_ten_kills_at_random_moments_lose_nothing(demo_root, tmp_path, amp):
    config = trainings.write_config(tmp_path, demo_root, iters=120, every=3)
    options = ['--amp'] if amp else []
    begun = time.perf_counter()
    process = trainings.start(config, tmp_path / 'whole', *options)
    while 'Iter(train)' not in trainings.output_of(tmp_path / 'whole'):
        time.sleep(0.05)
    starts = time.perf_counter() - begun
    assert process.wait() == 0
    trains = time.perf_counter() - begun - starts
    killed = tmp_path / 'killed'
    for share in np.random.default_rng(amp).uniform(-0.05, 0.12, 10):
        process = trainings.start(config, killed, *options)
        time.sleep(starts + share * trains)
        trainings.kill(process)
    assert not (killed / 'iter_120.pth').exists(), 'the last kills hit no training'
    trainings.finish(config, killed, *options)
    assert len(set(trainings.resumed_at(killed))) > 3
    trainings.assert_same(tmp_path / 'whole', killed, 120)
    assert trainings.losses(killed) == trainings.losses(tmp_path / 'whole')


def test_kills_while_checkpoints_are_written_leave_one_to_resume(demo_root, tmp_path):
    """A checkpoint after every step, so that most kills hit one."""
    config = trainings.write_config(tmp_path, demo_root, iters=200, every=1)
    run = tmp_path / 'run'
    hits = 0
    for _ in range(10):
        before = trainings.output_of(run).count('Saving checkpoint')
        process = trainings.start(config, run)
        while trainings.output_of(run).count('Saving checkpoint') < before + 3 or not parts(run):
            assert process.poll() is None, trainings.output_of(run)[-3000:]
        trainings.kill(process)
        hits += bool(parts(run))
        torch.load((run / 'last_checkpoint').read_text(), weights_only=False)
    assert hits
    trainings.finish(config, run, '--cfg-options', 'train_cfg.max_iters=60')
    assert not parts(run)


def parts(folder: Path) -> set[str]:
    """Files that are being written, or were when their writer was killed."""
    return {name for name in os.listdir(folder) if name.endswith('.part')}


def test_full_file_system_ends_the_run_and_keeps_the_last_checkpoint(demo_root, tmp_path):
    """One of 20 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', disk], check=True)
    try:
        config = trainings.write_config(tmp_path, demo_root, iters=20, every=2)
        keep_all = 'default_hooks.checkpoint.max_keep_ckpts=-1'
        output = trainings.finish(config, disk / 'run', '--cfg-options', keep_all, status=1)
        last = output.strip().splitlines()[-1]
        kept = re.search(rf'({disk}\S+/iter_\d+\.pth) is complete', last)
        torch.load(kept[1], weights_only=False)
    finally:
        subprocess.run(['umount', disk], check=True)
