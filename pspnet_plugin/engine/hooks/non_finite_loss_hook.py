"""Stops a training whose loss is NaN or infinite, and says which pictures it was."""

import math
from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from pspnet_plugin.datasets.pair_backends import pair_path
from pspnet_plugin.engine.hooks.checkpoint_hook import what_is_kept

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Watches over the loss of every step.

    Where it is NaN or infinite, the run stops before anything is saved, with the iteration,
    the learning rate and the files of the batch; or the step is left out: neither weights nor
    statistics of norms change, in any process.

    Args:
        action: ``'stop'`` or ``'skip'``. To skip costs a copy of the norms' statistics a step, and
            with several processes a word between them.
        most_in_a_row: So many steps may be skipped one after the other; one more stops the run.

    Raises:
        ValueError: the action is none of these.
        FloatingPointError: in training, the loss is not finite.
    """

    priority = 'VERY_HIGH'

    def __init__(self, action: str = 'stop', most_in_a_row: int = 10) -> None:
        if action not in ACTIONS:
            raise ValueError(f'NonFiniteLossHook: action={action!r}, expected one of {ACTIONS}')
        self.action = action
        self.most_in_a_row = most_in_a_row
        self.skipped = 0
        self._in_a_row = 0
        self._left_out = False

    def before_train(self, runner: Runner) -> None:
        """Comes between the loss and the step, if steps are to be skipped."""
        if self.action == 'skip':
            runner.optim_wrapper.update_params = self._unless_bad(
                runner.optim_wrapper.update_params
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Keeps the statistics of norms, which the forward pass changes."""
        self._left_out = False
        if self.action == 'skip':
            self._buffers = [(buffer, buffer.clone()) for buffer in _bare(runner.model).buffers()]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Stops, or reports the step that was left out."""
        loss = float(torch.as_tensor((outputs or {}).get('loss', 0.0)).detach())
        if self.action == 'stop':
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f'{self._what(runner, loss, data_batch)}. {_advice(runner)}'
                )
            return
        if not self._left_out:
            self._in_a_row = 0
            return
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        self.skipped += 1
        self._in_a_row += 1
        said = self._what(runner, loss, data_batch)
        if self._in_a_row > self.most_in_a_row:
            raise FloatingPointError(
                f'{said}, as in the {self.most_in_a_row} steps before it. {_advice(runner)}'
            )
        runner.logger.warning(f'{said}; the step is left out')

    def after_train(self, runner: Runner) -> None:
        """Says how many steps were left out."""
        if self.skipped:
            runner.logger.warning(f'{self.skipped} steps were left out: their loss was not finite')

    def _unless_bad(self, update: Callable) -> Callable:
        def update_params(loss: Tensor, *args, **kwargs) -> None:
            good = loss.detach().isfinite().all().to(torch.int)
            all_reduce(good, op='min')
            self._left_out = not good.item()
            if not self._left_out:
                update(loss, *args, **kwargs)

        return update_params

    @staticmethod
    def _what(runner: Runner, loss: float, data_batch: dict | None) -> str:
        rates = {name: rates[0] for name, rates in runner.optim_wrapper.get_lr().items()}
        samples = (data_batch or {}).get('data_samples') or []
        files = [pair_path(sample.metainfo.get('img_path', '?')) for sample in samples]
        value = f'is {loss}' if not math.isfinite(loss) else 'is not finite in another process'
        return (
            f'the loss of iteration {runner.iter + 1} {value} (learning rate '
            f'{", ".join(f"{rate:.3g}" for rate in rates.values())}; the batch was '
            f'{", ".join(map(str, files)) or "of unknown files"})'
        )


def _advice(runner: Runner) -> str:
    return (
        f'Nothing of it was saved: {what_is_kept(runner.work_dir)}. A lower learning rate, '
        'optim_wrapper.clip_grad, or float32 where --amp was given are the usual remedies; '
        "NonFiniteLossHook with action='skip' leaves such steps out"
    )


def _bare(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model
