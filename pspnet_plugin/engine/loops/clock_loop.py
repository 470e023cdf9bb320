"""Time-limited training: a schedule that is stretched over a time budget, whatever the machine.

It compares networks by what they learn in the same time. Stock loops count iterations; here their
number is an outcome.
"""

import time

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.runner import Runner
from mmseg.registry import LOOPS

from pspnet_plugin.engine.loops.resumable_loop import ResumableTrainLoop
from pspnet_plugin.engine.loops.schedule import schedulers_of
from pspnet_plugin.utils.environment import PROCESS_STARTED

# Keys of the message hub, in checkpoints.
SECONDS = 'seconds_trained'
VALIDATIONS = 'validations_by_the_clock'


@LOOPS.register_module()
class ClockTrainLoop(ResumableTrainLoop):
    """Train for so many minutes since the process started, then validate.

    Schedules and ``val_interval`` stay written for ``max_iters`` iterations, and follow the share
    of the time budget that is spent: ``--cfg-options train_cfg.type=ClockTrainLoop
    train_cfg.minutes=25`` limits the time of any config. Validations take time from the budget; a
    larger ``train_cfg.val_interval`` makes them fewer. Whatever else counts iterations (logs,
    checkpoints) counts real ones. While it runs, the runner's ``max_iters`` is an estimate of their
    number.

    A resumed run has the time that its checkpoint leaves it; work that was done after that
    checkpoint costs it nothing. With several processes the clock of the first one counts. The
    number of steps depends on the machine, and so do the weights: runs of one seed differ.

    Args:
        runner: The runner.
        dataloader: As in ``ResumableTrainLoop``.
        max_iters: Length of the schedule, in its own iterations.
        minutes: Time budget of the whole process: imports, reading, training, validations.
        reserve: Seconds of it for the work after the last step, such as the last validation.
        val_interval: Iterations of the schedule between validations.
        **kwargs: Other arguments of stock ``IterBasedTrainLoop``.

    Raises:
        ValueError: no time is left for training, a scheduler counts epochs, or the checkpoint to
            resume from had another time budget.
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
                f'ClockTrainLoop: minutes={minutes}, reserve={reserve}: expected 0 seconds or more '
                'of reserve, and less than the minutes'
            )
        if 'dynamic_intervals' in kwargs:
            raise ValueError(
                f'ClockTrainLoop: dynamic_intervals={kwargs["dynamic_intervals"]} count real '
                'iterations; expected val_interval alone'
            )
        super().__init__(
            runner, dataloader, max_iters=max_iters, val_interval=val_interval, **kwargs
        )
        self._ticks = max_iters
        self._budget = 60 * minutes - reserve
        # Seconds trained: by the runs before, now, at the end of the last step; mean of a step.
        self._before = self._elapsed = self._ended = self._step = 0.0

    @property
    def tick(self) -> int:
        """Iteration of the schedule at this time, below ``max_iters``."""
        return min(int(self._elapsed / self._budget * self._ticks), self._ticks - 1)

    @property
    def _schedule_length(self) -> int:
        return self._ticks

    @property
    def _schedule_position(self) -> int | None:
        return None

    def _train(self) -> None:
        # The hook would step schedulers once an iteration.
        self.runner._hooks = [h for h in self.runner.hooks if type(h) is not ParamSchedulerHook]
        # Gradients may be accumulated over steps, whose number is not known.
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter, -1)
        hub = self.runner.message_hub
        trained = hub.runtime_info.get(SECONDS) if self._iter else None
        self._before = trained or 0.0
        self._started = time.monotonic() if trained else PROCESS_STARTED
        if not self._iter:
            hub.update_info(VALIDATIONS, 0)
        self._read_clock()
        self._check_schedules()
        if not self._iter and self._elapsed >= self._budget:
            raise ValueError(
                f'ClockTrainLoop: this process started {self._elapsed / 60:.1f} minutes ago, and '
                f'its time budget is {self._budget / 60:.1f}: give it more minutes'
            )
        self.runner.logger.info(
            f'{self._elapsed / 60:.1f} of {self._budget / 60:.1f} minutes of training are spent.'
        )
        self._max_iters = self._iter + (self._elapsed < self._budget)
        self._ended = self._elapsed
        super()._train()

    def run_iter(self, data_batch: dict) -> None:
        """Train one step, the last one if there is no time for another."""
        self._read_clock()
        until = max(self._elapsed, self._ended + self._step)
        left = max(self._budget - until, 0)
        more = max(round(left / self._step), 1) if left and self._step else int(left > 0)
        self._max_iters = self._iter + 1 + more
        self.runner.message_hub.update_info(SECONDS, until)
        if self._iter:  # torch warns of schedulers that step before the optimizer's first step
            self._step_schedulers()
        super().run_iter(data_batch)
        self._read_clock()
        took = self._elapsed - self._ended  # waiting for the batch included
        self._step = 0.9 * self._step + 0.1 * took if self._step else took
        self._ended = self._elapsed

    def _step_schedulers(self) -> None:
        schedulers = list(schedulers_of(self.runner))
        at = min((s._global_step for s in schedulers), default=self.tick)
        for _ in range(at, self.tick):  # in turn, as stock does: some start from others' rates
            for scheduler in schedulers:
                scheduler.step()

    def _check_schedules(self) -> None:
        for scheduler in schedulers_of(self.runner):
            if scheduler.by_epoch or isinstance(scheduler, ReduceOnPlateauParamScheduler):
                raise ValueError(
                    f'{type(scheduler).__name__}: by_epoch={scheduler.by_epoch}: a ClockTrainLoop '
                    f'needs schedulers of by_epoch=False that count steps, at most {self._ticks}'
                )
            if scheduler._global_step > self.tick + 1:
                raise ValueError(
                    f'ClockTrainLoop: the checkpoint is of iteration {scheduler._global_step} of '
                    f'the schedule, and the time budget is at {self.tick} of it: resume it with '
                    'the minutes of its start, or load its weights by load_from'
                )

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None:
            return False
        validated = self.runner.message_hub.runtime_info.get(VALIDATIONS, 0)
        due = self.tick // self.val_interval > validated and self.tick >= self.val_begin
        return due or self._iter >= self._max_iters

    def _validate(self) -> None:
        self.runner.message_hub.update_info(VALIDATIONS, self.tick // self.val_interval)
        super()._validate()
        self._read_clock()
        self._ended = self._elapsed  # a validation is no part of a step
        if self._elapsed >= self._budget:
            self._max_iters = self._iter
            self.runner.message_hub.update_info(SECONDS, self._elapsed)

    def _read_clock(self) -> None:
        self._elapsed = self._before + time.monotonic() - self._started
        if get_world_size() > 1:
            device = next(self.runner.model.parameters()).device
            shared = torch.tensor([self._elapsed], dtype=torch.float64, device=device)
            broadcast(shared)
            self._elapsed = shared.item()
