"""Mixed precision on whatever there is."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from pspnet_plugin.engine import autocast_wrapper


def products(**options) -> torch.dtype:
    """The precision in which a step multiplies."""
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


@pytest.mark.parametrize('precision', ['bfloat16', 'float32'])
def test_what_is_asked_for_is_what_is_used(precision):
    assert products(precision=precision) == getattr(torch, precision)


@pytest.mark.parametrize('fast', [True, False])
def test_by_default_the_machine_decides(monkeypatch, fast):
    monkeypatch.setattr(autocast_wrapper, 'has_fast_bfloat16', lambda device: fast)
    assert products() == (torch.bfloat16 if fast else torch.float32)


def test_devices_that_are_not_known_train_in_float32(monkeypatch):
    monkeypatch.setattr(autocast_wrapper, 'get_device', lambda: 'mps')
    assert products() == products(precision='float32') == torch.float32
    with pytest.raises(ValueError, match="this device is 'mps'; expected precision='auto'"):
        products(precision='bfloat16')


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="precision='float16': expected one of"):
        products(precision='float16')
