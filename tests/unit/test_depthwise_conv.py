"""Gradients of the depthwise convolution are those of torch, by other kernels."""

import pytest
import torch
from torch import nn

from pspnet_plugin.models.layers.depthwise_conv import (
    DepthwiseConv2d,
    input_gradient,
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
        input_gradient(x.detach(), conv.weight, grad, *given),
        weight_gradient(x.detach(), conv.kernel_size, grad, *given),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('geometry', GEOMETRIES[:6], ids=str)
def test_a_step_in_bfloat16_is_that_of_the_stock_layer(geometry):
    """Under autocast, with weights in float32, as in a training."""
    kernel, *rest = geometry
    ours = DepthwiseConv2d(6, 6, kernel, *rest, groups=6, bias=False)
    stock = nn.Conv2d(6, 6, kernel, *rest, groups=6, bias=False)
    stock.load_state_dict(ours.state_dict())
    results = []
    for conv in (ours, stock):
        x = torch.randn(2, 6, 13, 18, generator=torch.Generator().manual_seed(0))
        x = x.bfloat16().requires_grad_()
        with torch.autocast('cpu', torch.bfloat16):
            y = conv(x)
        y.float().square().sum().backward()
        assert x.grad.dtype == torch.bfloat16 and conv.weight.grad.dtype == torch.float32
        results.append((y.detach(), x.grad, conv.weight.grad))
    assert torch.equal(results[0][0], results[1][0])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(
            one.float(), other.float(), rtol=0.02, atol=0.02 * other.abs().max()
        )


def test_other_layers_are_stock():
    """With bias, of float32, or for one gradient only."""
    x = torch.randn(2, 6, 9, 9)
    for options, dtype in (({}, torch.float32), (dict(bias=True), torch.bfloat16)):
        conv = DepthwiseConv2d(6, 6, 5, padding=2, groups=6, **{'bias': False, **options})
        conv.to(dtype)(x.to(dtype)).sum().backward()
        assert conv.weight.grad.dtype == dtype
    conv = DepthwiseConv2d(6, 6, 5, padding=2, groups=6, bias=False).bfloat16()
    conv(x.bfloat16()).sum().backward()
    assert conv.weight.grad.abs().sum() > 0
    conv.weight.requires_grad_(False)
    x = x.bfloat16().requires_grad_()
    conv(x).sum().backward()
    assert x.grad.abs().sum() > 0
