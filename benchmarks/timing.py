"""Times, memory and multiply-adds of functions, side by side in one run.

Machines are noisy, so ways to do a thing take turns, round by round, and what counts is the ratio
within a round.
"""

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode


class Ratio(NamedTuple):
    """How many times as fast a way is as another, over rounds."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})'


def take_turns(
    ways: dict[str, Callable[[], object]], *, rounds: int, device: str = 'cpu'
) -> dict[str, list[float]]:
    """Seconds of each way, one figure a round.

    Args:
        ways: Functions by name. Each runs once before the first round, uncounted.
        rounds: How often each runs.
        device: On ``'cuda'`` times are those of device events, with nothing else in the queue.
    """
    for function in ways.values():
        function()
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, function in ways.items():
            seconds[name].append(_seconds(function, device))
    return seconds


def _seconds(function: Callable[[], object], device: str) -> float:
    if device == 'cpu':
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """How many times as fast the second is, round by round."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def multiply_adds(function: Callable[[], object]) -> int:
    """Those of matrix products and convolutions, as torch counts them (half its flops)."""
    in_place = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), _product_flops)
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        function()
    return counter.get_total_flops() // 2


def _product_flops(total, a, b, *_, **__) -> int:
    """Of products that are added in place, which torch does not count."""
    a, b = (getattr(factor, 'shape', factor) for factor in (a, b))
    return 2 * math.prod(a) * b[-1]


def peak_bytes(function: Callable[[], object], *, device: str = 'cpu') -> int:
    """Most bytes of tensors alive at once during a call, beyond those alive before it.

    As torch's allocator reports them: with the buffers that operators use inside, if they are its.
    """
    if device != 'cpu':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # or it reports each start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())['traceEvents']
    changes = [e for e in events if e.get('name') == '[memory]']
    alive, now, peak = {}, 0, 0
    for change in sorted(changes, key=lambda e: e['ts']):
        address, size = change['args']['Addr'], change['args']['Bytes']
        if size > 0:
            alive[address] = size
            now += size
        else:
            now -= alive.pop(address, 0)  # unknown: it was there before
        peak = max(peak, now)
    return peak


class Machine(NamedTuple):
    """What the device can do at best, measured."""

    multiply_adds: float  # a second, of a product of 2048 x 2048 matrices, or 256 x 256 if slow
    bytes: float  # a second, copied: each is read and written

    def floor(self, count: int) -> float:
        """Seconds that so many multiply-adds take at least."""
        return count / self.multiply_adds


def measure_machine(*, device: str = 'cpu', dtype: torch.dtype = torch.float32) -> Machine:
    """The best of several products and copies."""
    slow = device == 'cpu' and dtype == torch.float16  # a second and more for the large ones
    side = 256 if slow else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    big = torch.empty(2**26, dtype=torch.uint8, device=device)
    other = torch.empty_like(big)
    times = take_turns(
        dict(product=lambda: a @ a, copy=lambda: other.copy_(big)), rounds=7, device=device
    )
    return Machine(side**3 / min(times['product']), big.numel() / min(times['copy']))
