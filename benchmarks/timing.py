"""Times, memory and multiply-adds of functions, measured side by side in one run.

Machines are noisy, so the variants of a function take turns, round by round, and the ratio within a
round counts.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

SETTLING = 0.02  # seconds, in which the threads of some runtimes wait busily after a call
DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks that run on CUDA too."""
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='(cpu)')
    parser.add_argument('--tf32', action='store_true',
        help='on CUDA, TF32 in products and convolutions of float32',
    )  # fmt: skip


class Ratio(NamedTuple):
    """Speed of one variant divided by that of another, over rounds."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.lowest:.2f} to {self.highest:.2f})'


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Ratio:
    """Divide the seconds of two variants, round by round."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def time_in_turns(
    variants: Mapping[str, Callable[[], object]], *, rounds: int, device: str = 'cpu'
) -> dict[str, list[float]]:
    """Measure the seconds of each variant in each round, after a run of each that does not count.

    On CUDA, times are those of device events, with nothing else in the queue.
    """
    for function in variants.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, function in variants.items():
            seconds[name].append(seconds_of(function, device=device))
    return seconds


def seconds_of(function: Callable[[], object], *, device: str = 'cpu') -> float:
    """Measure the seconds of one call."""
    if device == 'cpu':
        time.sleep(SETTLING)
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


def multiply_adds(function: Callable[[], object]) -> int:
    """Count the multiply-adds of matrix products and convolutions, half of torch's flops."""
    in_place = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), _product_flops)
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        function()
    return counter.get_total_flops() // 2


def _product_flops(total, a, b, *_, **__) -> int:
    """Flops of products that are added in place, which torch does not count."""
    a, b = (getattr(factor, 'shape', factor) for factor in (a, b))
    return 2 * math.prod(a) * b[-1]


def peak_bytes(function: Callable[[], object], *, device: str = 'cpu') -> int:
    """Measure the most bytes of tensors alive at once during a call, beyond those before it.

    The figures are those of torch's allocator, with the buffers that operators get from it.
    """
    if device != 'cpu':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # else it logs each start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())['traceEvents']
    changes = [e for e in events if e.get('name') == '[memory]']
    alive: dict[int, int] = {}
    now = peak = 0
    for change in sorted(changes, key=lambda e: e['ts']):
        address, size = change['args']['Addr'], change['args']['Bytes']
        if size > 0:
            alive[address] = size
            now += size
        else:
            now -= alive.pop(address, 0)  # 0: allocated before the call
        peak = max(peak, now)
    return peak


class Machine(NamedTuple):
    """Best measured speed of the device."""

    multiply_adds: float  # a second, of the fastest of some products and convolutions
    fastest: str  # which it was
    bytes: float  # a second, copied: each is read and written

    def floor(self, count: int) -> float:
        """Least seconds that so many multiply-adds take."""
        return count / self.multiply_adds

    def compare(
        self,
        variants: Mapping[str, Callable[[], object]],
        *,
        rounds: int,
        device: str = 'cpu',
        uncounted: Collection[str] = (),
    ) -> list[dict]:
        """Compare the seconds of each variant with those of the first and with the floor.

        ``uncounted`` run outside of torch, which cannot count their multiply-adds.
        """
        seconds = time_in_turns(variants, rounds=rounds, device=device)
        base, rows = next(iter(seconds.values())), []
        for name, variant in variants.items():
            count = None if name in uncounted else multiply_adds(variant)
            row = dict(form=name, seconds=min(seconds[name]), speedup=ratio(base, seconds[name]))
            floor = count and min(seconds[name]) / self.floor(count)
            rows.append(row | dict(multiply_adds=count, above_floor=floor))
        return rows


def measure_machine(*, device: str = 'cpu', dtype: torch.dtype = torch.float32) -> Machine:
    """Take the best of several products, convolutions and copies."""
    variants = _products_and_convolutions(device=device, dtype=dtype)
    big = torch.empty(2**26, dtype=torch.uint8, device=device)
    other = torch.empty_like(big)
    with torch.no_grad():
        counts = {name: multiply_adds(variant) for name, variant in variants.items()}
        variants['copy'] = lambda: other.copy_(big)
        times = time_in_turns(variants, rounds=7, device=device)
    speeds = {name: count / min(times[name]) for name, count in counts.items()}
    fastest = max(speeds, key=speeds.__getitem__)
    return Machine(speeds[fastest], fastest, big.numel() / min(times['copy']))


def _products_and_convolutions(
    *, device: str, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """Calls that a device does fast, by what they are."""
    slow = device == 'cpu' and dtype == torch.float16  # a second and more for the large ones
    variants: dict[str, Callable[[], object]] = {}
    for side in (256,) if slow else (512, 2048):
        a = torch.randn(side, side, device=device).to(dtype)
        variants[f'a product of {side} x {side} matrices'] = partial(torch.matmul, a, a)
    for channels, side in () if slow else ((64, 128), (256, 64), (512, 32)):
        x = torch.randn(1, channels, side, side, device=device).to(dtype)
        weight = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
        x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
        name = f'a 3x3 convolution of {channels} to {channels} channels at {side} x {side}'
        variants[name] = partial(F.conv2d, x, weight, padding=1)
    return variants
