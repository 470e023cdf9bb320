"""Timing of functions: turns, ratios, multiply-adds, memory; the networks that are compared."""

import torch
import torch.nn.functional as F
from helpers.pairs import ROOT
from mmseg.models.decode_heads import PSPHead

from benchmarks import timing
from benchmarks.networks import build_networks
from benchmarks.timing import measure_machine, multiply_adds, peak_bytes, ratio, time_in_turns
from pspnet_plugin.models import FastPSPHead


def test_variants_take_turns_after_an_uncounted_run():
    calls = []
    seconds = time_in_turns({name: lambda n=name: calls.append(n) for name in 'ab'}, rounds=3)
    assert calls == ['a', 'b'] * 4
    assert {name: len(times) for name, times in seconds.items()} == dict(a=3, b=3)
    assert ratio([2, 6, 4], [1, 2, 4]) == (2, 1, 3)  # within a round


def test_multiply_adds():
    x, weight = torch.randn(2, 3, 10, 12), torch.randn(5, 3, 3, 3)
    assert multiply_adds(lambda: F.conv2d(x, weight, padding=1)) == 2 * 5 * 3 * 9 * 10 * 12
    a, b = torch.ones(4, 2, 3), torch.ones(4, 3, 5)
    assert multiply_adds(lambda: torch.zeros(4, 2, 5).baddbmm_(a, b)) == 4 * 2 * 3 * 5
    assert multiply_adds(lambda: torch.zeros(2, 5).addmm_(a[0], b[0], beta=0)) == 2 * 3 * 5


def test_peak_counts_what_is_alive_at_once():
    x = torch.zeros(1000)

    def function():
        a = x + 1  # 4000 bytes
        b = a.double()  # 8000 more
        del a
        a = b.view(-1)[:10] * 1  # 80 more, after 4000 less; the view is nothing
        return a.sum()

    assert peak_bytes(function) == 12000
    weight = torch.zeros(1000, requires_grad=True)
    assert peak_bytes(lambda: (weight * weight).sum().backward()) >= 2 * 4000


def test_machine_has_a_speed():
    machine = measure_machine()
    assert 1e-5 < machine.floor(10**9) < 10 and machine.bytes > 1e8  # seconds; a second


def test_the_floor_is_the_fastest_of_several_calls(monkeypatch):
    seconds = {'product': 2.0, 'convolution': 1.0, 'copy': 4.0}
    monkeypatch.setattr(
        timing, '_products_and_convolutions', lambda **_: dict.fromkeys(['product', 'convolution'])
    )
    monkeypatch.setattr(timing, 'multiply_adds', lambda _: 10)
    monkeypatch.setattr(timing, 'time_in_turns', lambda v, **_: {n: [9, seconds[n]] for n in v})
    assert timing.measure_machine() == (10.0, 'convolution', 2**26 / 4)


def test_stock_head_is_compared_with_ours():
    stock, ours = build_networks(str(ROOT / 'configs' / 'psp_demo.py'))
    assert type(stock.decode_head) is PSPHead and type(ours.decode_head) is FastPSPHead
    theirs = stock.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.state_dict().items())
