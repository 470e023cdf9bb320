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


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` of one filter a channel: the same parameters and outputs."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        fits = bias is None and self.padding_mode == 'zeros' and not isinstance(self.padding, str)
        if fits and input.dtype == torch.bfloat16 and input.device.type == 'cpu':
            return _Depthwise.apply(input, weight, self.stride, self.padding, self.dilation)
        return super()._conv_forward(input, weight, bias)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Tensor:  # fmt: skip
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation
        return F.conv2d(x, weight, None, stride, padding, dilation, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (grad,) = ctx.saved_tensors, grads
        of_x = input_gradient(x, weight, grad, *ctx.geometry) if ctx.needs_input_grad[0] else None
        size = (weight.shape[2], weight.shape[3])
        of_weight = (
            weight_gradient(x, size, grad, *ctx.geometry) if ctx.needs_input_grad[1] else None
        )
        return of_x, of_weight, None, None, None


def input_gradient(
    x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """Return the gradient (N, C, H, W) of the input, of which only shape and layout matter."""
    dtype = x.dtype
    if max(stride) > 1 and dtype == torch.bfloat16:
        x, weight, grad = torch.empty_like(x, dtype=torch.float32), weight.float(), grad.float()
    return _native(x, weight, grad, stride, padding, dilation, of_input=True).to(dtype)


def weight_gradient(
    x: Tensor, size: tuple[int, int], grad: Tensor, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """Return the gradient (C, 1, k, k) of the filters.

    That of an odd k above 3 consists of blocks of 3x3, each the gradient of a 3x3 filter over the
    input moved by the block's place.
    """
    channels = x.shape[1]
    if min(size) < 3 or not all(side % 2 for side in size) or max(size) == 3:
        weight = x.new_empty(channels, 1, *size)
        return _native(x, weight, grad, stride, padding, dilation, of_input=False)
    block = x.new_empty(channels, 1, 3, 3)
    found = x.new_empty(channels, 1, *size)
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    sides = zip(grad.shape[2:], stride, dilation, strict=True)
    reach = [(side - 1) * s + 2 * d + 1 for side, s, d in sides]
    for i in range(0, size[0] - 2, 2):
        for j in range(0, size[1] - 2, 2):
            top, left = i * dilation[0], j * dilation[1]
            moved = padded[:, :, top : top + reach[0], left : left + reach[1]]
            moved = moved.contiguous(memory_format=torch.channels_last)
            found[:, :, i : i + 3, j : j + 3] = _native(
                moved, block, grad, stride, (0, 0), dilation, of_input=False
            )
    return found


def _native(
    x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], *, of_input: bool,
) -> Tensor:  # fmt: skip
    """Return torch's gradient of the input, or of the filters."""
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, (0, 0), len(weight),
        (of_input, not of_input, False),
    )  # fmt: skip
    return found[0 if of_input else 1]
