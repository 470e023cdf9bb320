"""Stops a training whose loss is NaN or infinite, or skips the step, and names the batch."""

import math
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from pspnet_plugin.datasets.pair_backends import pair_path
from pspnet_plugin.engine.hooks.checkpoint_hook import resume_hint

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Check the loss of every step.

    If it is NaN or infinite, the run stops before anything is saved, and names the batch; or the
    step is skipped: neither weights nor statistics of norms change, in any process.

    Args:
        action: ``'stop'`` or ``'skip'``. To skip costs a copy of the norms' statistics a step, and
            with several processes an ``all_reduce`` of one number.
        most_in_a_row: Number of successive steps that may be skipped; one more stops the run.

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
        self._skipping = False

    def before_train(self, runner: Runner) -> None:
        """Put the check between the loss and the step, if steps are to be skipped."""
        if self.action == 'skip':
            runner.optim_wrapper.update_params = self._if_finite(runner.optim_wrapper.update_params)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Copy the statistics of norms, which the forward pass changes."""
        self._skipping = False
        if self.action == 'skip':
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            self._buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop, or restore the statistics and report the skipped step."""
        loss = float(torch.as_tensor((outputs or {}).get('loss', 0.0)).detach())
        if self.action == 'stop' and not math.isfinite(loss):
            raise FloatingPointError(f'{_describe(runner, loss, data_batch)}. {_advice(runner)}')
        if not self._skipping:
            self._in_a_row = 0
            return
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        self.skipped += 1
        self._in_a_row += 1
        description = _describe(runner, loss, data_batch)
        if self._in_a_row > self.most_in_a_row:
            raise FloatingPointError(
                f'{description}, as in the {self.most_in_a_row} steps before it. {_advice(runner)}'
            )
        runner.logger.warning(f'{description}; the step is skipped')

    def after_train(self, runner: Runner) -> None:
        """Report the number of skipped steps."""
        if self.skipped:
            runner.logger.warning(f'{self.skipped} steps were skipped: their loss was not finite')

    def _if_finite(self, update: Callable) -> Callable:
        def update_params(loss: Tensor, *args, **kwargs) -> None:
            finite = loss.detach().isfinite().all().to(torch.int)
            all_reduce(finite, op='min')
            self._skipping = not finite.item()
            if not self._skipping:
                update(loss, *args, **kwargs)

        return update_params


def _describe(runner: Runner, loss: float, data_batch: dict | None) -> str:
    rates = ', '.join(f'{rates[0]:.3g}' for rates in runner.optim_wrapper.get_lr().values())
    samples = (data_batch or {}).get('data_samples') or []
    files = [str(pair_path(sample.metainfo.get('img_path', '?'))) for sample in samples]
    value = f'is {loss}' if not math.isfinite(loss) else 'is not finite in another process'
    return (
        f'the loss of iteration {runner.iter + 1} {value} (learning rate {rates}; the batch was '
        f'{", ".join(files) or "of unknown files"})'
    )


def _advice(runner: Runner) -> str:
    return (
        f'This step was not saved: {resume_hint(runner.work_dir)}. Lower the learning rate, set '
        'optim_wrapper.clip_grad, or take float32 where --amp was given; NonFiniteLossHook with '
        "action='skip' skips such steps"
    )
