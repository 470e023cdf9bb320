"""Schedules that fit the length of a training, also where a resumed one is given another.

mmengine restores schedulers from the checkpoint as they were, whatever the config says now; beyond
its end, a schedule leaves the learning rate where it is, which is often zero.
"""

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import Runner

# What changes in a scheduler from step to step, or depends on the optimizer.
_MOVING = ('optimizer', 'last_step', '_global_step', '_last_value', 'base_values', 'verbose')
_NOTHING = 1e-6  # share of the largest learning rate


def schedulers_of(runner: Runner) -> Iterator[_ParamScheduler]:
    """Yield the schedulers of all optimizers."""
    schedulers = runner.param_schedulers or []
    for group in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
        yield from group


def check_schedule(runner: Runner, length: int) -> None:
    """Raise ``ValueError`` if the schedule ends long before ``length`` iterations, at a rate of 0.

    Or if it counts epochs.

    A schedule that ends at another rate keeps it, which may be meant.
    """
    for scheduler in schedulers_of(runner):
        if scheduler.by_epoch and not isinstance(scheduler, ReduceOnPlateauParamScheduler):
            raise ValueError(
                f'{type(scheduler).__name__}: by_epoch=True: this training has one epoch, so the '
                'rate would never change. Give by_epoch=False, and its ends in iterations'
            )
    if not _is_plain(runner):
        return
    rates = _Rates(runner)  # by the config, whatever a checkpoint had
    number, last = max(enumerate(rates.schedulers), key=lambda pair: _end(pair[1]))
    wasted = length - _end(last)
    if wasted <= max(1, length // 100):
        return
    highest = rates.now
    with contextlib.suppress(ValueError):  # OneCycleLR counts its steps
        for _ in range(_end(last)):
            rates.step()
            highest = max(highest, rates.now)
    key = 'total_steps' if isinstance(last, OneCycleParamScheduler) else 'end'
    if isinstance(last, OneCycleParamScheduler) or rates.now <= _NOTHING * highest:
        also = f' and param_scheduler.{number}.T_max' if hasattr(last, 'T_max') else ''
        raise ValueError(
            f'the schedule ends after {_end(last)} of the {length} iterations of train_cfg; the '
            f'others would learn nothing, at a learning rate of 0. Set param_scheduler.{number}.'
            f'{key}{also} to {length}'
        )


def follow_config(runner: Runner) -> None:
    """Rebuild the schedulers of a resumed training where the config has others than its start."""
    if not _is_plain(runner):
        return
    restored = list(schedulers_of(runner))
    iteration = max(s._global_step for s in restored)
    rates = _Rates(runner)
    same = [_settings(s) for s in restored] == [_settings(s) for s in rates.schedulers]
    same &= all(s._global_step == iteration for s in restored)  # none was added
    group = _fastest(runner)
    before = group['lr']
    if same:
        with contextlib.suppress(ValueError):
            for _ in range(iteration):
                rates.step()
            if math.isclose(
                rates.now, before, rel_tol=1e-3, abs_tol=_NOTHING * group['initial_lr']
            ):
                return  # none was removed
    for other in runner.optim_wrapper.param_groups:
        for name in {s.param_name for s in restored}:
            other[name] = other.get(f'initial_{name}', other[name])
            if name == 'momentum' and 'betas' in other:
                other['betas'] = (other[name], *other['betas'][1:])
    runner.param_schedulers = runner.build_param_scheduler(
        copy.deepcopy(runner.cfg.param_scheduler)
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # no step of the optimizer is between those of schedulers
        for _ in range(iteration):
            for scheduler in schedulers_of(runner):
                scheduler.step()
    runner.logger.warning(
        f'The schedule differs from that of the checkpoint. It is rebuilt for iteration '
        f'{iteration}: the learning rate was {before:.3g} and is {group["lr"]:.3g}.'
    )


def _end(scheduler: _ParamScheduler) -> int:
    if isinstance(scheduler, OneCycleParamScheduler):
        return scheduler.total_steps
    return scheduler.end


def _fastest(runner: Runner) -> dict:
    """Return the parameter group of the highest learning rate: others may be frozen."""
    return max(runner.optim_wrapper.param_groups, key=lambda g: g.get('initial_lr', g['lr']))


class _Rates:
    """Learning rate by the config's schedulers, without the training's optimizer."""

    def __init__(self, runner: Runner) -> None:
        rate = _fastest(runner)
        optimizer = torch.optim.SGD(
            [torch.nn.Parameter(torch.zeros(()))], rate.get('initial_lr', rate['lr'])
        )
        self.wrapper = OptimWrapper(optimizer)
        config = copy.deepcopy(runner.cfg.param_scheduler)
        self.schedulers = runner._build_param_scheduler(config, self.wrapper)
        self.wrapper.optimizer._global_step = 0  # as if it had made a step, against warnings
        self.wrapper._global_step = 0

    @property
    def now(self) -> float:
        return self.wrapper.param_groups[0]['lr']

    def step(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()


def _is_plain(runner: Runner) -> bool:
    """Return whether the config has schedulers by iterations for one optimizer."""
    schedulers = list(schedulers_of(runner))
    return (
        bool(schedulers)
        and bool(runner.cfg.get('param_scheduler'))
        and not isinstance(runner.optim_wrapper, OptimWrapperDict)
        and not any(s.by_epoch or isinstance(s, ReduceOnPlateauParamScheduler) for s in schedulers)
    )


def _settings(scheduler: _ParamScheduler) -> tuple[type, dict]:
    state = {k: v for k, v in vars(scheduler).items() if k not in _MOVING and not callable(v)}
    return type(scheduler), state
