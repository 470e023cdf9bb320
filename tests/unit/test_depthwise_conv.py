"""Gradients of the depthwise convolution are those of torch, by other kernels."""

import pytest
import torch
from torch import nn

from pspnet_plugin.models.layers.depthwise_conv import (
    depthwise_conv2d,
    input_gradient,
    is_slow_in_stock,
    weight_gradient,
)

# Kernel, stride, padding, dilation.
GEOMETRIES = [
    (3, 1, 1, 1), (3, 2, 0, 1), (5, 1, 2, 1), (5, 2, 0, 1), (5, 2, 2, 2), (5, 1, 4, 2),
    (7, 3, 1, 1), (4, 2, 1, 1), (1, 1, 0, 1), ((3, 5), (1, 2), (1, 2), (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradients_are_exact(geometry, layout):
    kernel, *rest = geometry
    conv = nn.Conv2d(6, 6, kernel, *rest, groups=6, bias=False).double()
    x = torch.randn(2, 6, 13, 18, dtype=torch.float64).contiguous(memory_format=layout)
    x.requires_grad_()
    y = conv(x)
    grad = torch.randn_like(y)
    expected = torch.autograd.grad(y, (x, conv.weight), grad)
    given = conv.stride, conv.padding, conv.dilation
    found = (
        input_gradient(x.detach(), conv.weight, grad, given),
        weight_gradient(x.detach(), conv.kernel_size, grad, given),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_step_in_bfloat16_is_that_of_the_stock_layer(geometry, layout):
    """Under autocast, with weights in float32, as in a training."""
    kernel, *rest = geometry
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, *rest, groups=6, bias=False)
    start = torch.randn(2, 6, 13, 18).bfloat16().contiguous(memory_format=layout)
    results = []
    for convolve in (lambda x: depthwise_conv2d(x, conv), conv):
        conv.zero_grad()
        x = start.clone().requires_grad_()
        assert is_slow_in_stock(x, conv)
        with torch.autocast('cpu', torch.bfloat16):
            y = convolve(x)
        y.float().square().sum().backward()
        assert x.grad.dtype == torch.bfloat16 and conv.weight.grad.dtype == torch.float32
        results.append((y.detach(), x.grad, conv.weight.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    for one, other in zip(*results, strict=True):
        limit = 0.02 * other.abs().max().item()
        torch.testing.assert_close(one.float(), other.float(), rtol=0.02, atol=limit)


@pytest.mark.parametrize('frozen', ['input', 'filters'])
def test_one_gradient_alone(frozen):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False).bfloat16()
    conv.requires_grad_(frozen != 'filters')
    found = []
    for convolve in (lambda x: depthwise_conv2d(x, conv), conv):
        torch.manual_seed(1)
        x = torch.randn(2, 6, 9, 9).bfloat16().requires_grad_(frozen != 'input')
        source = x if frozen == 'filters' else conv.weight
        found.append(torch.autograd.grad(convolve(x).float().square().sum(), source)[0])
    torch.testing.assert_close(*found, rtol=0.02, atol=0.02 * found[1].abs().max().item())


@pytest.mark.parametrize(
    ('options', 'dtype'),
    [(dict(bias=True), torch.bfloat16), ({}, torch.float32), (dict(groups=3), torch.bfloat16),
     (dict(padding='same'), torch.bfloat16), (dict(padding_mode='circular'), torch.bfloat16)],
    ids=str,
)  # fmt: skip
def test_layers_that_stay_stock(options, dtype):
    conv = nn.Conv2d(6, 6, 5, **{'padding': 2, 'groups': 6, 'bias': False, **options})
    x = torch.randn(2, 6, 9, 9).to(dtype)
    assert not is_slow_in_stock(x, conv)
    assert not is_slow_in_stock(x[0].bfloat16(), nn.Conv2d(6, 6, 5, groups=6, bias=False))
