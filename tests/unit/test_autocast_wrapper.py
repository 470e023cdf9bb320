"""Mixed precision on whatever device there is."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from pspnet_plugin.engine.optimizers import autocast_wrapper


def precision_of_products(**options) -> torch.dtype:
    net = nn.Linear(4, 4)
    config = dict(type='AutocastOptimWrapper', optimizer=dict(type='SGD', lr=0.1), **options)
    wrapper = build_optim_wrapper(net, config)
    before = net.weight.clone()
    with wrapper.optim_context(net):
        out = net(torch.ones(2, 4))
    wrapper.update_params(out.float().sum())
    assert not torch.equal(net.weight, before)
    assert net.weight.dtype == torch.float32
    return out.dtype


def test_named_precision_is_used():
    assert precision_of_products(precision='bfloat16') == torch.bfloat16
    assert precision_of_products(precision='float32') == torch.float32


@pytest.mark.parametrize('fast', [True, False])
def test_machine_decides_by_default(monkeypatch, fast):
    monkeypatch.setattr(autocast_wrapper, 'has_fast_bfloat16', lambda device: fast)
    assert precision_of_products() == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize(
    ('avx512', 'amx', 'fast'),
    [(True, False, True), (False, True, True), (False, False, False), (None, None, False)],
)
def test_processors_with_bfloat16_instructions_are_fast(monkeypatch, avx512, amx, fast):
    for name, has in (('_is_avx512_bf16_supported', avx512), ('_is_amx_tile_supported', amx)):
        if has is None:  # an older torch
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda has=has: has, raising=False)
    assert autocast_wrapper.has_fast_bfloat16('cpu') is fast


@pytest.mark.parametrize(('capability', 'fast'), [((7, 5), False), ((8, 0), True)])
def test_gpus_from_ampere_on_are_fast(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    assert autocast_wrapper.has_fast_bfloat16('cuda') is fast


def test_other_devices_train_in_float32_only(monkeypatch):
    monkeypatch.setattr(autocast_wrapper, 'get_device', lambda: 'mps')
    assert precision_of_products() == precision_of_products(precision='float32') == torch.float32
    with pytest.raises(ValueError, match="'mps'"):
        precision_of_products(precision='bfloat16')


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="precision='float16'"):
        precision_of_products(precision='float16')
