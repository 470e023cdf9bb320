"""At no moment is the last good checkpoint lost: not by a failed write, not by bad weights."""

import errno
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine import fileio
from mmengine.logging import MessageHub

from pspnet_plugin.engine import WholeCheckpointHook
from pspnet_plugin.engine.hooks.checkpoint_hook import check_finite, resume_hint


def names(folder: Path, pattern: str = '*') -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


class Saver:
    """Stand-in for a runner whose checkpoints hold their name."""

    def __init__(self, folder: Path) -> None:
        self.work_dir = str(folder)
        self.model = torch.nn.Linear(1, 1)
        self.logger = SimpleNamespace(info=lambda text: None)
        self.message_hub = MessageHub.get_instance(str(folder))
        self.during = lambda: None
        self.iter = self.epoch = 0

    def save_checkpoint(self, out_dir, filename, **options):
        self.during()
        fileio.put(filename.encode(), Path(out_dir) / filename, options['backend_args'])

    def fill_disk(self):
        raise OSError(errno.ENOSPC, 'No space left on device')

    def spoil_weights(self):
        torch.nn.init.constant_(self.model.weight, float('nan'))


@pytest.fixture
def saver(tmp_path):
    return Saver(tmp_path)


def hook_of(saver, **options) -> WholeCheckpointHook:
    hook = WholeCheckpointHook(interval=1, by_epoch=False, **options)
    hook.before_train(saver)
    return hook


def test_older_checkpoints_are_removed_after_the_new_one_is_there(saver, tmp_path):
    hook = hook_of(saver, max_keep_ckpts=1)
    for step in (1, 2, 3):
        meanwhile = []
        saver.during = lambda meanwhile=meanwhile: meanwhile.extend(names(tmp_path))
        hook._save_checkpoint_with_step(saver, step, {})
        assert step == 1 or meanwhile == [f'iter_{step - 1}.pth', 'last_checkpoint']
        assert names(tmp_path) == [f'iter_{step}.pth', 'last_checkpoint']
        assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / f'iter_{step}.pth')
    hook._save_checkpoint_with_step(saver, 3, {})  # again, after its validation
    assert names(tmp_path) == ['iter_3.pth', 'last_checkpoint']
    assert saver.message_hub.get_info('keep_ckpt_ids') == [3]
    hook = hook_of(saver, max_keep_ckpts=2)  # resumed
    hook._save_checkpoint_with_step(saver, 4, {})
    assert names(tmp_path) == ['iter_3.pth', 'iter_4.pth', 'last_checkpoint']


@pytest.mark.parametrize('scores', ['mIoU', ['mIoU', 'aAcc']], ids=['one score', 'two'])
def test_best_is_removed_after_a_better_one_is_there(saver, tmp_path, scores):
    hook = hook_of(saver, save_best=scores, rule='greater')

    meanwhile = []
    saver.during = lambda: meanwhile.append(names(tmp_path, 'best*'))
    others = [] if scores == 'mIoU' else ['best_aAcc_iter_1.pth']
    for step, value, best in ((1, 10.0, 1), (2, 20.0, 2), (3, 15.0, 2)):
        saver.iter = step
        hook._save_best_checkpoint(saver, dict(mIoU=value, aAcc=-value))
        assert names(tmp_path, 'best*') == [*others, f'best_mIoU_iter_{best}.pth']
    assert 'best_mIoU_iter_1.pth' in meanwhile[-1], 'it is there while the other is written'

    saver.iter, saver.during = 4, saver.fill_disk
    with pytest.raises(OSError, match='No space'):
        hook._save_best_checkpoint(saver, dict(mIoU=30.0, aAcc=0.0))
    assert (tmp_path / 'best_mIoU_iter_2.pth').is_file()
    saver.spoil_weights()
    with pytest.raises(FloatingPointError, match='iteration 4'):
        hook._save_best_checkpoint(saver, dict(mIoU=40.0, aAcc=0.0))


def test_best_auto_follows_the_first_score_also_after_a_resume(saver, tmp_path):
    hook = hook_of(saver, save_best='auto')
    for step, value in ((1, 10.0), (2, 5.0), (3, 20.0)):
        saver.iter = step
        hook._save_best_checkpoint(saver, dict(mIoU=value, aAcc=-value))
    assert names(tmp_path, 'best*') == ['best_mIoU_iter_3.pth']
    saver.iter = 4
    hook_of(saver, save_best='auto')._save_best_checkpoint(saver, dict(mIoU=30.0, aAcc=0.0))
    assert names(tmp_path, 'best*') == ['best_mIoU_iter_4.pth']


def test_failed_save_keeps_the_one_before(saver, tmp_path):
    hook = hook_of(saver, max_keep_ckpts=1)
    hook._save_checkpoint_with_step(saver, 1, {})
    saver.during = saver.fill_disk
    with pytest.raises(OSError, match='No space'):
        hook._save_checkpoint_with_step(saver, 2, {})
    saver.spoil_weights()
    with pytest.raises(FloatingPointError, match='iter_2.pth.* weight '):
        hook._save_checkpoint_with_step(saver, 2, {})
    assert names(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    assert str(tmp_path / 'iter_1.pth') in resume_hint(tmp_path)


def test_finite_weights_with_an_infinite_sum_are_saved():
    model = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.weight, 3e38)
    check_finite(model, 'a')


def test_stale_parts_of_this_machine_are_removed_at_the_start(saver, tmp_path):
    for machine in (platform.node(), 'elsewhere'):
        (tmp_path / f'.0a1b2c3d@{machine}.part').write_bytes(b'half')
    hook_of(saver)
    assert [path.name for path in tmp_path.iterdir()] == ['.0a1b2c3d@elsewhere.part']


def test_hint_names_no_checkpoint_where_there_is_none(tmp_path):
    assert '.pth' not in resume_hint(tmp_path)
    for content in ('', 'gone.pth'):
        (tmp_path / 'last_checkpoint').write_text(content)
        assert '.pth' not in resume_hint(tmp_path)


def test_a_test_scores_the_checkpoint_that_it_is_given(saver, tmp_path):
    """Also by a config that was dumped by a resumed training."""
    hook_of(saver)._save_checkpoint_with_step(saver, 1, {})
    saver._resume, saver._load_from, saver._train_loop = True, '/elsewhere/best.pth', {}
    hook_of(saver).before_run(saver)
    assert saver._load_from == '/elsewhere/best.pth' and saver._resume
