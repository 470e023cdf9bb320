"""Atomic checkpoints.

Differs from stock ``CheckpointHook`` in its order: a checkpoint is written beside its final name,
flushed to the disk and renamed; then ``last_checkpoint``, which ``--resume`` reads; only then are
older ones removed, a former best one too. And weights that are not finite are never saved.
"""

from collections import deque
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.fileio.backends import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from mmseg.registry import HOOKS
from torch import nn

from pspnet_plugin.utils.files import remove_stale_parts, write_atomic

ATOMIC = 'whole-file'  # registered name of the backend


class AtomicFileBackend(LocalBackend):
    """Local files, written atomically."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; its directory is created."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, obj)


register_backend(ATOMIC, AtomicFileBackend)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """Stock ``CheckpointHook`` with all its arguments, whose last good checkpoint is never lost.

    Checkpoints on other backends (``s3://``) are written as stock does.
    """

    # Set by stock.
    backend_args: dict | None
    keep_ckpt_ids: deque[int]

    def before_run(self, runner: Runner) -> None:
        """Let ``--resume`` find the work directory's own checkpoint: ``load_from`` is for a start.

        Stock would resume from ``load_from``, with its iteration. One in the work directory names
        the checkpoint to resume from, as in stock.
        """
        super().before_run(runner)
        if not isinstance(runner._train_loop, BaseLoop):  # a test or a validation
            return
        foreign = runner._load_from
        work_dir = Path(runner.work_dir).resolve()
        if not runner._resume or not foreign or work_dir in Path(foreign).resolve().parents:
            return
        if own := find_latest_checkpoint(runner.work_dir):
            runner._load_from = None
            runner.logger.info(f'Resuming from {own}; load_from={foreign} was for the start.')
        else:
            runner._resume = False
            runner.logger.info(f'{work_dir} has no checkpoint: starting from load_from={foreign}.')

    def before_train(self, runner: Runner) -> None:
        """Prepare the directory of checkpoints; parts that killed runs left there are removed."""
        super().before_train(runner)
        stock = self.backend_args or self.file_client_args
        if stock is None and isinstance(self.file_backend, LocalBackend):
            self.backend_args = dict(backend=ATOMIC)
            if is_main_process():
                remove_stale_parts(Path(self.out_dir))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save as stock does, but remove the previous best one afterwards."""
        if not self.save_best:
            return
        check_finite(runner.model, f'The best checkpoint of iteration {runner.iter}')
        before = self._best
        self._best = dict.fromkeys(before)  # stock removes what it knows of before it saves
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            now = self._best  # of the same scores, but 'auto' has become the name of one
            kept = zip(now.items(), before.values(), strict=True)
            self._best = {key: path or old for (key, path), old in kept}
        if not is_main_process():
            return
        for path, better in zip(before.values(), now.values(), strict=True):
            if path and better and str(path) != str(better) and self.file_backend.isfile(path):
                self.file_backend.remove(path)
                runner.logger.info(f'The previous best checkpoint {path} is removed')

    @property
    def _best(self) -> dict[str, str | None]:
        """Path of the best checkpoint by each score."""
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    @_best.setter
    def _best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths.values()
        else:
            self.best_ckpt_path_dict.update(paths)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        check_finite(runner.model, name)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        surplus: list[int] = []
        if self.max_keep_ckpts > 0:  # a checkpoint may be written again, after its validation
            steps = [*(kept for kept in self.keep_ckpt_ids if kept != step), step]
            surplus = steps[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(
            self.out_dir, name, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            file_client_args=self.file_client_args, backend_args=self.backend_args, **self.args,
        )  # fmt: skip
        if not is_main_process():
            return
        write_atomic(Path(runner.work_dir) / 'last_checkpoint', str(self.last_ckpt).encode())
        for old in surplus:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)


def check_finite(model: nn.Module, name: str) -> None:
    """Raise ``FloatingPointError`` if a tensor of checkpoint ``name`` is not finite."""
    tensors = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    if torch.stack([v.detach().sum().float().isfinite() for v in tensors.values()]).all():
        return
    if bad := [key for key, value in tensors.items() if not value.isfinite().all()]:
        raise FloatingPointError(
            f'{name} was not saved: {bad[0]} and {len(bad) - 1} other tensors are not finite. '
            '--resume continues from the checkpoint before; lower the learning rate, or set '
            'optim_wrapper.clip_grad'
        )


def resume_hint(work_dir: str | Path) -> str:
    """Return a clause on the checkpoint from which ``--resume`` would continue."""
    last = Path(work_dir) / 'last_checkpoint'
    if last.is_file() and (path := Path(last.read_text())).is_file():
        return f'{path} is complete, and --resume continues from it'
    return 'there is no checkpoint yet'
