"""Depthwise convolution whose gradients in bfloat16 are fast on CPUs, too.

oneDNN has kernels in bfloat16 for the weights' gradient of 3x3 filters, and for the input's of
stride 1; the others take its reference code, up to thirty times as long. Here larger filters are
put together from 3x3 ones, and strided gradients of the input are computed in float32.

Shape shorthand in this module: N: batch; C: channels; H, W: size of the input; k: kernel size.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pspnet_plugin.models.layers.resampling import is_traced, is_transformed

Geometry = tuple[Sequence[int], Sequence[int], Sequence[int]]  # stride, padding, dilation


def is_slow_in_stock(x: Tensor, conv: nn.Conv2d) -> bool:
    """Return whether ``depthwise_conv2d`` is to be taken for a layer and its (N, C, H, W) input."""
    return (
        not is_traced(x)
        and x.dtype == torch.bfloat16
        and x.device.type == 'cpu'
        and x.ndim == 4
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and conv.padding_mode == 'zeros'
        and not isinstance(conv.padding, str)
        and not is_transformed()
    )


def depthwise_conv2d(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return what the layer returns, with other gradient kernels; see ``is_slow_in_stock``."""
    return _Depthwise.apply(x, conv.weight.to(x.dtype), (conv.stride, conv.padding, conv.dilation))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, None, *geometry, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (grad,) = ctx.saved_tensors, grads
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = input_gradient(x, weight, grad, ctx.geometry)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(x, (weight.shape[2], weight.shape[3]), grad, ctx.geometry)
        return of_x, of_weight, None


def input_gradient(x: Tensor, weight: Tensor, grad: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient (N, C, H, W) of the input, of which only shape and layout matter."""
    dtype = x.dtype
    if max(geometry[0]) > 1 and dtype == torch.bfloat16:
        x, weight, grad = torch.empty_like(x, dtype=torch.float32), weight.float(), grad.float()
    return _native(x, weight, grad, geometry, of_input=True).to(dtype)


def weight_gradient(x: Tensor, size: tuple[int, int], grad: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient (C, 1, k, k) of the filters.

    That of an odd k above 3 consists of blocks of 3x3, each the gradient of a 3x3 filter over the
    input moved by the block's place.
    """
    stride, padding, dilation = geometry
    found = x.new_empty(x.shape[1], 1, *size)
    if min(size) < 3 or not all(side % 2 for side in size) or max(size) == 3:
        return _native(x, found, grad, geometry, of_input=False)
    block = x.new_empty(x.shape[1], 1, 3, 3)
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    sides = zip(grad.shape[2:], stride, dilation, strict=True)
    reach = [(side - 1) * s + 2 * d + 1 for side, s, d in sides]
    for i in range(0, size[0] - 2, 2):
        for j in range(0, size[1] - 2, 2):
            top, left = i * dilation[0], j * dilation[1]
            moved = padded[:, :, top : top + reach[0], left : left + reach[1]]
            moved = moved.contiguous(memory_format=torch.channels_last)
            found[:, :, i : i + 3, j : j + 3] = _native(
                moved, block, grad, (stride, (0, 0), dilation), of_input=False
            )
    return found


def _native(
    x: Tensor, weight: Tensor, grad: Tensor, geometry: Geometry, *, of_input: bool
) -> Tensor:
    """Return torch's gradient of the input, or of the filters."""
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, None, *geometry, False, (0, 0), len(weight),
        (of_input, not of_input, False),
    )  # fmt: skip
    return found[0 if of_input else 1]
