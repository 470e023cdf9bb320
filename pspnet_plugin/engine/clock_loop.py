"""Training for so many minutes, whatever the machine, by a schedule that follows the clock.

Networks are compared here by what they learn in the same time; by the same number of iterations the
slower ones would be given more of it. It differs from stock loops, which count iterations, in that
their number is an outcome: a schedule of ``max_iters`` iterations is stretched over the minutes.
"""

import time
from collections.abc import Iterator

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim import _ParamScheduler
from mmengine.runner import Runner
from mmseg.registry import LOOPS

from pspnet_plugin.engine.resumable_loop import ResumableTrainLoop
from pspnet_plugin.engine.run_record_hook import BEGUN

CLOCK = 'seconds_trained'


@LOOPS.register_module()
class ClockTrainLoop(ResumableTrainLoop):
    """Trains until so many minutes after the process began, then validates.

    Schedules and ``val_interval`` stay written for ``max_iters`` iterations, and go by the share of
    the time that is gone; so a config becomes one by the clock by
    ``--cfg-options train_cfg.type=ClockTrainLoop train_cfg.minutes=25``. What else counts
    iterations (logs, checkpoints) counts those that are done. While it runs, the runner's
    ``max_iters`` is an estimate of how many there will be.

    A run that is resumed has the time that its checkpoint leaves it; what was done after that
    checkpoint costs it nothing. With several processes the clock of the first one counts. The
    number of steps depends on the machine, and so do the weights: runs of one seed differ.

    Args:
        runner: The runner.
        dataloader: See ``ResumableTrainLoop``.
        max_iters: Length of the schedule, in its own iterations.
        minutes: Wall clock of the whole process: imports, reading, training, validations.
        reserve: Seconds of it that are left for what comes after the last step, such as the last
            validation.
        val_interval: Iterations of the schedule between validations.
        **kwargs: Other arguments of stock ``IterBasedTrainLoop``.

    Raises:
        ValueError: no time is left for training, or a scheduler counts epochs.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        max_iters: int,
        *,
        minutes: float,
        reserve: float = 30,
        val_interval: int = 1000,
        **kwargs,
    ) -> None:
        if not 0 <= reserve < 60 * minutes:
            raise ValueError(
                f'ClockTrainLoop: minutes={minutes}, reserve={reserve}: expected more minutes, or '
                'a reserve from 0 seconds to below them'
            )
        super().__init__(
            runner, dataloader, max_iters=max_iters, val_interval=val_interval, **kwargs
        )
        self._ticks = max_iters
        self._seconds = 60 * minutes - reserve
        self._before = self._elapsed = self._step = 0.0
        self._validated = 0

    @property
    def tick(self) -> int:
        """Iteration of the schedule that it is time for, below ``max_iters``."""
        return min(int(self._elapsed / self._seconds * self._ticks), self._ticks - 1)

    def _train(self) -> None:
        schedulers = list(_schedulers(self.runner))
        for scheduler in schedulers:
            if scheduler.by_epoch:
                raise ValueError(
                    f'{type(scheduler).__name__}: by_epoch=True, but a ClockTrainLoop knows '
                    f'iterations of the schedule only; expected by_epoch=False, an end of at most '
                    f'{self._ticks}'
                )
        # It would step them once an iteration, whatever the clock says.
        self.runner._hooks = [h for h in self.runner.hooks if type(h) is not ParamSchedulerHook]
        resumed = self.runner.message_hub.runtime_info.get(CLOCK) if self._iter else None
        self._before, self._began = (resumed, time.time()) if resumed else (0.0, BEGUN)
        self._read_clock()
        if not self._iter and self._elapsed >= self._seconds:
            raise ValueError(
                f'ClockTrainLoop: this process began {self._elapsed / 60:.1f} minutes ago, and has '
                f'{self._seconds / 60:.1f} to train in all: start it anew, or give it more minutes'
            )
        self._validated = self.tick // self.val_interval
        self._max_iters = self._iter + (self._elapsed < self._seconds)
        super()._train()

    def run_iter(self, data_batch: dict) -> None:
        """One step, the last one if the clock leaves no time for another."""
        self._read_clock()
        begun, until = self._elapsed, self._elapsed + self._step
        left = max(self._seconds - until, 0)
        more = max(round(left / self._step), 1) if left and self._step else int(left > 0)
        self._max_iters = self._iter + 1 + more
        self.runner.message_hub.update_info(CLOCK, until)
        if self._iter:  # torch warns of schedulers that step before the optimizer's first step
            self._follow_clock()
        super().run_iter(data_batch)
        self._read_clock()
        took = self._elapsed - begun
        self._step = 0.9 * self._step + 0.1 * took if self._step else took

    def _follow_clock(self) -> None:
        for scheduler in _schedulers(self.runner):
            while scheduler._global_step < self.tick:  # last_step stands still outside its range
                scheduler.step()

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None:
            return False
        due = self.tick // self.val_interval
        last = self._iter >= self._max_iters
        if last or (due > self._validated and self.tick >= self.val_begin):
            self._validated = due
            return True
        return False

    def _read_clock(self) -> None:
        self._elapsed = self._before + time.time() - self._began
        if get_world_size() > 1:
            device = next(self.runner.model.parameters()).device
            shared = torch.tensor([self._elapsed], dtype=torch.float64, device=device)
            broadcast(shared)
            self._elapsed = shared.item()


def _schedulers(runner: Runner) -> Iterator[_ParamScheduler]:
    found = runner.param_schedulers or []
    for group in found.values() if isinstance(found, dict) else [found]:
        yield from group
