"""Schedules that fit the length of a training, also where a resumed one is given another.

mmengine restores schedulers from the checkpoint as they were, whatever the config says now; beyond
its end, a schedule leaves the learning rate where it is, which is often zero.
"""

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.runner import Runner

# What changes in a scheduler from step to step, or depends on the optimizer.
_MOVING = ('optimizer', 'last_step', '_global_step', '_last_value', 'base_values', 'verbose')
_NOTHING = 1e-6  # share of the largest learning rate
_ALMOST_NOTHING = 1e-4  # where a cosine of 160 iterations and more ends


def schedulers_of(runner: Runner) -> Iterator[_ParamScheduler]:
    """Yield the schedulers of all optimizers."""
    schedulers = runner.param_schedulers or []
    for group in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
        yield from group


def check_schedule(runner: Runner, length: int) -> None:
    """Raise ``ValueError`` if the schedule stays at about 0 long before ``length`` iterations.

    Or if it counts epochs. A rate that only becomes small may be meant.
    """
    if not runner.cfg.get('param_scheduler') or _is_special(runner):
        return
    rates = _Rates(runner)  # by the config, whatever a checkpoint had
    for scheduler in rates.schedulers:
        if scheduler.by_epoch and not isinstance(scheduler, ReduceOnPlateauParamScheduler):
            raise ValueError(
                f'{type(scheduler).__name__}: by_epoch=True: this training has one epoch, so the '
                'rate would never change. Give by_epoch=False, and its ends in iterations'
            )
    if any(isinstance(s, ReduceOnPlateauParamScheduler) for s in rates.schedulers):
        return
    values = []
    try:
        for _ in range(length):
            values.append(rates.now)
            rates.step()
    except ValueError as error:  # OneCycleLR counts its steps
        raise ValueError(
            f'the schedule ends before the {length} iterations of train_cfg ({error}). Set '
            f'total_steps of OneCycleLR in param_scheduler to {length}'
        ) from None
    wasted = 0
    while wasted < length and values[-1 - wasted] == values[-1] < _ALMOST_NOTHING * max(values):
        wasted += 1
    if wasted > max(1, length // 100):
        ends = {i: s.end for i, s in enumerate(rates.schedulers) if s.end < length}
        last = max(ends, key=lambda i: ends[i], default=0)
        raise ValueError(
            f'the learning rate is {values[-1]:.2g} for the last {wasted} of {length} iterations '
            'of train_cfg: they would learn nothing. Set the end of the schedule, such as '
            f'param_scheduler.{last}.end (and T_max, if it has one), to {length}'
        )


def follow_config(runner: Runner, iteration: int | None) -> None:
    """Rebuild the schedulers of a resumed training where the config has others than its start.

    ``iteration`` is that of the schedule; by default, that of the restored schedulers.
    """
    if _is_special(runner):
        return
    group = _fastest(runner)
    before = group['lr']
    if not runner.cfg.get('param_scheduler'):
        _reset(runner, {'lr', 'momentum'})
        if group['lr'] != before:
            runner.logger.warning(
                f'The config has no schedule, and the checkpoint had: the learning rate was '
                f'{before:.3g} and is {group["lr"]:.3g}.'
            )
        return
    restored, rates = list(schedulers_of(runner)), _Rates(runner)
    if any(s.by_epoch for s in restored + rates.schedulers):
        return
    if iteration is None:
        iteration = max(s._global_step for s in restored)
    same = [_settings(s) for s in restored] == [_settings(s) for s in rates.schedulers]
    same &= all(s._global_step == iteration for s in restored)  # none was added
    if same:
        with contextlib.suppress(ValueError):
            for _ in range(iteration):
                rates.step()
            if math.isclose(rates.now, before, rel_tol=1e-3, abs_tol=_NOTHING * rates.start):
                return  # none was removed
    _reset(runner, {s.param_name for s in restored})
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


def report_kept_options(runner: Runner) -> None:
    """Warn where the optimizer of a resumed training keeps options that the config has changed.

    As in stock, learning rate, weight decay and the like are those of the checkpoint.
    """
    if _is_special(runner):
        return
    fresh = runner.build_optim_wrapper(copy.deepcopy(runner.cfg.optim_wrapper))
    runner.scale_lr(fresh, runner.auto_scale_lr)
    changed: dict[str, tuple] = {}
    for own, new in zip(runner.optim_wrapper.param_groups, fresh.param_groups, strict=True):
        moved = {'betas'} if 'initial_momentum' in own else set()  # by a schedule
        for key in new.keys() & own.keys() - moved - {'params'}:
            kept = own.get(f'initial_{key}', own[key])
            if kept != new[key] and list(np.ravel(kept)) != list(np.ravel(new[key])):
                changed.setdefault(key, (kept, new[key]))
    if changed:
        listed = ', '.join(f'{key}={kept} ({new})' for key, (kept, new) in changed.items())
        runner.logger.warning(
            f'The optimizer keeps the options of the checkpoint, not those of the config (in '
            f'brackets): {listed}. To train with those, start a new run from the weights: load_from'
        )


def _reset(runner: Runner, names: set[str]) -> None:
    """Give the parameter groups the values that they had before any scheduler."""
    for group in runner.optim_wrapper.param_groups:
        for name in names & {key.removeprefix('initial_') for key in group if 'initial_' in key}:
            group[name] = group[f'initial_{name}']
            if name == 'momentum' and 'betas' in group:
                group['betas'] = (group[name], *group['betas'][1:])


def _fastest(runner: Runner) -> dict:
    """Return the parameter group of the highest learning rate: others may be frozen."""
    return max(runner.optim_wrapper.param_groups, key=lambda g: g.get('initial_lr', g['lr']))


class _Rates:
    """Learning rate by the config's schedulers, without the training's optimizer."""

    def __init__(self, runner: Runner) -> None:
        rate = _fastest(runner)
        self.start = rate.get('initial_lr', rate['lr'])
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], self.start)
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


def _is_special(runner: Runner) -> bool:
    """Return whether there are several optimizers, whose schedules are their own matter."""
    return isinstance(runner.optim_wrapper, OptimWrapperDict)


def _settings(scheduler: _ParamScheduler) -> tuple[type, dict]:
    state = {k: v for k, v in vars(scheduler).items() if k not in _MOVING and not callable(v)}
    return type(scheduler), state
