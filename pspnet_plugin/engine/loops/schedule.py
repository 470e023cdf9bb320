"""Schedules that fit the length of a training, also where a resumed one is given another.

mmengine restores schedulers from the checkpoint as they were, whatever the config says now; beyond
its end, a schedule leaves the learning rate where it is, which is often zero.
"""

import copy
import warnings
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
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
    """Raise ``ValueError`` if more than the last of ``length`` iterations have a rate of zero."""
    rates = _Rates(runner) if _is_plain(runner) else None
    if rates is None:
        return
    values = []
    try:
        for _ in range(length):
            values.append(rates.now)
            rates.step()
    except ValueError as error:  # OneCycleLR counts its steps
        raise ValueError(
            f'param_scheduler of iteration {len(values) + 1}: {error} train_cfg.max_iters is '
            f'{length}: set total_steps or end of the schedulers to it as well'
        ) from None
    wasted = 0
    while wasted < length and values[-1 - wasted] <= _NOTHING * max(values):
        wasted += 1
    if wasted > max(1, length // 100):
        ends = ', '.join(f'{type(s).__name__}: end={s.end}' for s in schedulers_of(runner))
        raise ValueError(
            f'the learning rate is 0 from iteration {length - wasted + 1} to {length}, '
            f'train_cfg.max_iters: these would learn nothing ({ends}). Set the end of the schedule '
            f'to {length} as well, such as --cfg-options param_scheduler.1.end={length}'
        )


def follow_config(runner: Runner) -> None:
    """Rebuild the schedulers of a resumed training where the config has others than its start."""
    if not _is_plain(runner):
        return
    rates = _Rates(runner)
    restored = list(schedulers_of(runner))
    if [_settings(s) for s in restored] == [_settings(s) for s in rates.schedulers]:
        return
    iteration, groups = restored[0]._global_step, runner.optim_wrapper.param_groups
    before = groups[0]['lr']
    for group in groups:
        group['lr'] = group['initial_lr']
    config = copy.deepcopy(runner.cfg.param_scheduler)
    runner.param_schedulers = runner.build_param_scheduler(config)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # no step of the optimizer is between those of schedulers
        for _ in range(iteration):
            for scheduler in schedulers_of(runner):
                scheduler.step()
    runner.logger.warning(
        f'The schedule differs from that of the checkpoint. It is rebuilt for iteration '
        f'{iteration}: the learning rate was {before:.3g} and is {groups[0]["lr"]:.3g}.'
    )


class _Rates:
    """Learning rate by the config's schedulers, without the training's optimizer."""

    def __init__(self, runner: Runner) -> None:
        rate = runner.optim_wrapper.param_groups[0]
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
