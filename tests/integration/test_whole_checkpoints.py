"""At no moment is the last good checkpoint lost: not by a kill, a full disk or bad weights."""

import errno
import os
import platform
import re
import resource
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.trainings import finish, kill, start, words, write_config
from mmengine.logging import MessageHub

from pspnet_plugin.engine.hooks.checkpoint_hook import (
    WholeCheckpointHook,
    check_finite,
    what_is_kept,
)


def saved(folder: Path) -> list[str]:
    """Names of all that lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


class Saver:
    """As much of a runner as the hook sees; a checkpoint is its step."""

    def __init__(self, folder: Path) -> None:
        self.work_dir = str(folder)
        self.model = torch.nn.Linear(1, 1)
        self.logger = SimpleNamespace(info=lambda text: None)
        self.message_hub = MessageHub.get_instance(str(folder))
        self.during = lambda: None
        self.iter = self.epoch = 0

    def save_checkpoint(self, out_dir, filename, **options):
        from mmengine import fileio

        self.during()
        fileio.put(filename.encode(), Path(out_dir) / filename, options['backend_args'])


@pytest.fixture
def saver(tmp_path):
    return Saver(tmp_path)


def hook_of(saver, **options) -> WholeCheckpointHook:
    hook = WholeCheckpointHook(interval=1, by_epoch=False, **options)
    hook.before_train(saver)
    return hook


def test_older_checkpoints_go_after_the_new_one_is_there(saver, tmp_path):
    hook = hook_of(saver, max_keep_ckpts=1)
    for step in (1, 2, 3):
        there = []
        saver.during = lambda there=there: there.extend(saved(tmp_path))
        hook._save_checkpoint_with_step(saver, step, {})
        if step > 1:
            assert there == [f'iter_{step - 1}.pth', 'last_checkpoint']
        assert saved(tmp_path) == [f'iter_{step}.pth', 'last_checkpoint']
        assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / f'iter_{step}.pth')
    hook._save_checkpoint_with_step(saver, 3, {})  # again, after its validation
    assert saved(tmp_path) == ['iter_3.pth', 'last_checkpoint']
    assert saver.message_hub.get_info('keep_ckpt_ids') == [3]


@pytest.mark.parametrize('names', ['mIoU', ['mIoU', 'aAcc']], ids=['one score', 'two'])
def test_the_best_goes_when_a_better_one_is_there(saver, tmp_path, names):
    hook = hook_of(saver, save_best=names, rule='greater')

    def score(step, value):
        there = []
        saver.iter = step
        saver.during = lambda: there.extend(path.name for path in tmp_path.glob('best*'))
        hook._save_best_checkpoint(saver, dict(mIoU=value, aAcc=-value))
        return there

    kept = {f'best_{key}_iter_1.pth' for key in ([names] if names == 'mIoU' else names)}
    score(1, 10.0)
    assert {path.name for path in tmp_path.glob('best*')} == kept
    assert 'best_mIoU_iter_1.pth' in score(2, 20.0), 'it was there while the other was written'
    kept = kept - {'best_mIoU_iter_1.pth'} | {'best_mIoU_iter_2.pth'}
    assert {path.name for path in tmp_path.glob('best*')} == kept
    score(3, 15.0)
    assert {path.name for path in tmp_path.glob('best_mIoU*')} == {'best_mIoU_iter_2.pth'}

    def fail():
        raise OSError(errno.ENOSPC, 'No space left on device')

    saver.iter, saver.during = 4, fail
    with pytest.raises(OSError, match='No space'):
        hook._save_best_checkpoint(saver, dict(mIoU=30.0, aAcc=0.0))
    assert (tmp_path / 'best_mIoU_iter_2.pth').is_file()
    with torch.no_grad():
        saver.model.weight.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='The best checkpoint of iteration 4 was not'):
        hook._save_best_checkpoint(saver, dict(mIoU=40.0, aAcc=0.0))


def test_the_best_by_the_first_score_there_is(saver, tmp_path):
    hook = hook_of(saver, save_best='auto')
    for step, value in ((1, 10.0), (2, 5.0), (3, 20.0)):
        saver.iter = step
        hook._save_best_checkpoint(saver, dict(mIoU=value, aAcc=-value))
    assert [path.name for path in tmp_path.glob('best*')] == ['best_mIoU_iter_3.pth']
    saver.iter = 4
    hook_of(saver, save_best='auto')._save_best_checkpoint(saver, dict(mIoU=30.0, aAcc=0.0))
    assert [path.name for path in tmp_path.glob('best*')] == ['best_mIoU_iter_4.pth'], 'resumed'


def test_what_is_kept_goes_on_after_a_resume(saver, tmp_path):
    hook = hook_of(saver, max_keep_ckpts=2)
    for step in (1, 2):
        hook._save_checkpoint_with_step(saver, step, {})
    hook = hook_of(saver, max_keep_ckpts=2)
    hook._save_checkpoint_with_step(saver, 3, {})
    assert saved(tmp_path) == ['iter_2.pth', 'iter_3.pth', 'last_checkpoint']


def test_a_write_that_fails_leaves_what_was(saver, tmp_path):
    hook = hook_of(saver, max_keep_ckpts=1)
    hook._save_checkpoint_with_step(saver, 1, {})

    def fail():
        raise OSError(errno.ENOSPC, 'No space left on device')

    saver.during = fail
    with pytest.raises(OSError, match='No space'):
        hook._save_checkpoint_with_step(saver, 2, {})
    assert saved(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    assert what_is_kept(tmp_path).startswith(f'{tmp_path}/iter_1.pth is whole')


def test_bad_weights_are_not_saved(saver, tmp_path):
    hook = hook_of(saver)
    hook._save_checkpoint_with_step(saver, 1, {})
    with torch.no_grad():
        saver.model.weight.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match=r'iter_2.pth was not saved: weight .*--resume'):
        hook._save_checkpoint_with_step(saver, 2, {})
    assert saved(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    model = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.weight, 3e38)  # finite, though their sum is not
    check_finite(model, 'a')


def test_what_a_killed_run_had_begun_goes_when_the_next_one_starts(saver, tmp_path):
    part = tmp_path / f'.0a1b2c3d@{platform.node()}.part'
    part.write_bytes(b'half')
    other = tmp_path / '.0a1b2c3d@elsewhere.part'
    other.write_bytes(b'half')  # of another machine, which may be writing it
    hook_of(saver)
    assert saved(tmp_path) == [other.name]


def test_nothing_kept_is_said(tmp_path):
    assert what_is_kept(tmp_path) == 'there is no checkpoint yet'
    (tmp_path / 'last_checkpoint').write_text('')
    assert what_is_kept(tmp_path) == 'there is no checkpoint yet'


def test_a_disk_that_fills_up_ends_the_run_with_what_was_kept(demo_root, tmp_path):
    """By a real limit on the size of files."""
    config = write_config(tmp_path, demo_root, iters=4, every=2, more='val_cfg = None\n'
                          'val_dataloader = None\nval_evaluator = None\n')  # fmt: skip
    run = tmp_path / 'run'
    finish(config, run, '--cfg-options', 'train_cfg.max_iters=2')
    small = (run / 'iter_2.pth').stat().st_size // 2
    output = finish(
        config, run, status=1,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small)),
    )  # fmt: skip
    last = output.strip().splitlines()[-1]
    assert 'iter_4.pth' in last and f'{run}/iter_2.pth is whole, and --resume goes on' in last
    assert not list(run.glob('.*')), 'nothing half-written stays'
    assert 'resumed epoch: 0, iter: 2' in finish(config, run)
    assert (run / 'iter_4.pth').is_file()


@pytest.mark.long
def test_kills_while_checkpoints_are_written(demo_root, tmp_path):
    """A checkpoint after every step, so that most kills hit one; a full file system too."""
    config = write_config(tmp_path, demo_root, iters=200, every=1)
    run = tmp_path / 'run'
    hit = 0
    for _ in range(10):
        before = words(run).count('Saving checkpoint') if run.exists() else 0
        process = start(config, run)
        while words(run).count('Saving checkpoint') < before + 3:
            assert process.poll() is None, words(run)[-3000:]
        while not begun_in(run):
            assert process.poll() is None, words(run)[-3000:]
        kill(process)
        hit += bool(begun_in(run))
        torch.load((run / 'last_checkpoint').read_text(), weights_only=False)
    print(f'10 kills, {hit} of them within a write')
    assert hit
    left = begun_in(run)
    process = start(config, run)
    while words(run).count('Iter(train)') and not left.isdisjoint(begun_in(run)):
        assert process.poll() is None, words(run)[-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def begun_in(folder: Path) -> set[str]:
    """Files that are being written, or were when their writer was killed."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.name.endswith('.part')}


@pytest.mark.long
def test_a_full_file_system(demo_root, tmp_path):
    """A real one, of 20 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', disk], check=True)
    try:
        config = write_config(tmp_path, demo_root, iters=20, every=2)
        output = finish(config, disk / 'run', '--cfg-options',
                        'default_hooks.checkpoint.max_keep_ckpts=-1', status=1)  # fmt: skip
        last = output.strip().splitlines()[-1]
        kept = re.search(r'(\S+) is whole, and --resume goes on from it', last).group(1)
        assert 'No space left on device' in last
        torch.load(kept, weights_only=False)
    finally:
        subprocess.run(['umount', disk], check=True)
