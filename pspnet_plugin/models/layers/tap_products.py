"""Convolution of x plus levels that stay at their bins: the products Z, A_w and A_h, and backward.

``pyramid.py`` derives the mathematics. Here it runs in blocks whose intermediates fit the caches of
a CPU. The derivative writes each share of the weight's gradient where it belongs: autograd over
single operators would hold that gradient twice, and every intermediate of every level.

The two memory formats take the same steps with their matrices laid out differently:

============== ====================================== ======================================
step           contiguous                             channels_last (``by_pixel``)
============== ====================================== ======================================
bins           (M, q)                                 (q, M)
taps Z         (b * k * k, q)                         (q, k * k * b)
spread Z A_w^T (N * b, K, W)                          (N, K, W * b)
output block   (N * b, H, W)                          (N, H, W * b)
blocks         channels                               images, or channels of large images
============== ====================================== ======================================

Shape shorthand in this module: N: batch; C: channels of x and of upsampled levels; M: channels of a
level; O: output channels, b: those of a block; H, W: size of x and of the output; h, w: size of a
level; q: bins of a level in the images of a block, N * h * w; k: side of the kernel; K: sum of
k * h over levels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pspnet_plugin.models.layers.resampling import (
    is_channels_last,
    is_exporting,
    is_traced,
    is_transformed,
)

# Floats of a block's intermediates: 8 MB of float32.
BLOCK_FLOATS = 2**21
# Bins (q) from which copying the weight costs less than a small product for each output channel.
MIN_COLUMNS_TO_COPY_WEIGHT = 128


class TapPlan(NamedTuple):
    """Slices of the weight's input channels, and the matrices of the levels."""

    dense_channels: tuple[slice, ...]  # of x: C in all
    level_channels: tuple[slice, ...]  # of each level: M
    rows: Tensor  # the A_h of all levels side by side, (H, K)
    columns: tuple[Tensor, ...]  # A_w of each level, (W, k * w)

    def dense_weight(self, weight: Tensor) -> Tensor:
        """Return the weight of the ordinary convolution, (O, C, k, k)."""
        parts = [weight[:, channels] for channels in self.dense_channels]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def conv_with_taps(
    plan: TapPlan, x: Tensor, weight: Tensor, bias: Tensor | None, levels: Sequence[Tensor]
) -> Tensor:
    """Convolve x (N, C, H, W) and levels (N, M, h, w) by a weight (O, C + sum of M, k, k), k odd.

    Returns:
        (N, O, H, W).
    """
    if is_traced(x) or is_transformed():
        return _conv_at_once(plan, x, weight, bias, *levels)
    tensors = (x, weight, bias, *levels)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return _ConvWithTaps.apply(plan, *tensors)
    return _conv_in_blocks(plan, x, weight, bias, *levels)


def _conv_at_once(
    plan: TapPlan, x: Tensor, weight: Tensor, bias: Tensor | None, *levels: Tensor
) -> Tensor:
    """Compute by operators that autograd, tracing and ``torch.func`` follow."""
    y = F.conv2d(x, plan.dense_weight(weight), bias, padding=int(weight.shape[-1]) // 2)
    n, out, height, width = y.shape
    by_pixel = is_channels_last(y)
    shares = [_layout(weight[:, part], by_pixel) for part in plan.level_channels]
    spread = _spread_all(plan, shares, [_bins(p, by_pixel) for p in levels], by_pixel)
    if by_pixel:
        y = y.permute(0, 2, 3, 1).reshape(n, height, width * out)
        y = torch.baddbmm(y, plan.rows.expand(n, -1, -1), spread)
        return y.view(n, height, width, out).permute(0, 3, 1, 2)
    y = y.reshape(n * out, height, width)
    return torch.baddbmm(y, plan.rows.expand(n * out, -1, -1), spread).view(n, out, height, width)


def _conv_in_blocks(
    plan: TapPlan, x: Tensor, weight: Tensor, bias: Tensor | None, *levels: Tensor
) -> Tensor:
    """Compute the same faster and in less memory, out of autograd's sight."""
    y = F.conv2d(x, plan.dense_weight(weight), bias, padding=int(weight.shape[-1]) // 2)
    by_pixel = is_channels_last(y)
    channel_blocks, image_blocks = _blocks(plan, y, levels)
    bins = [[_bins(p[images], by_pixel) for p in levels] for images in image_blocks]
    for channels in channel_blocks:
        shares = [_layout(weight[channels, part], by_pixel) for part in plan.level_channels]
        for images, block_bins in zip(image_blocks, bins, strict=True):
            spread = _spread_all(plan, shares, block_bins, by_pixel)
            if by_pixel:
                block = y[images, channels].permute(0, 2, 3, 1)  # (N, H, W, b)
                block += (plan.rows.expand(len(block), -1, -1) @ spread).view(block.shape)
                continue
            for image, taps in zip(y, spread.view(len(y), -1, *spread.shape[1:]), strict=True):
                image[channels].baddbmm_(plan.rows.expand(len(taps), -1, -1), taps)
    return y


class _ConvWithTaps(torch.autograd.Function):
    """``_conv_in_blocks`` with its derivative; saves nothing but its inputs."""

    @staticmethod
    def forward(plan, x, weight, bias, *levels):
        return _conv_in_blocks(plan, x, weight, bias, *levels)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, grad):
        plan, tensors, needed = ctx.plan, ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # for a second derivative
            inputs = [t for t, need in zip(tensors, needed, strict=True) if need]
            y = _conv_at_once(plan, *tensors)
            grads = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
            return None, *(next(grads) if need else None for need in needed)
        x, weight, _, *levels = tensors
        if not is_channels_last(grad):
            grad = grad.contiguous()
        # Before the levels: x needs a copy of its share of the weight, which is then freed.
        dense, margin = plan.dense_weight(weight), weight.shape[-1] // 2
        grad_x = F.conv_transpose2d(grad, dense, padding=margin) if needed[0] else None
        grad_weight = torch.empty_like(weight) if needed[1] else None
        if grad_weight is not None:
            _write_dense_gradient(plan, grad, x, dense, grad_weight)
        del dense
        grad_bias = grad.sum((0, 2, 3)) if needed[2] else None
        grad_levels = _levels_backward(plan, grad, weight, levels, grad_weight)
        wanted = (g if need else None for g, need in zip(grad_levels, needed[3:], strict=True))
        return None, grad_x, grad_weight, grad_bias, *wanted


def _write_dense_gradient(
    plan: TapPlan, grad: Tensor, x: Tensor, dense: Tensor, grad_weight: Tensor
) -> None:
    """Write the gradient of the dense weight (O, C, k, k) into that of the weight, in blocks."""
    sizes = [channels.stop - channels.start for channels in plan.dense_channels]
    for block in _even_slices(len(dense), dense.numel()):
        grad_dense = torch.ops.aten.convolution_backward(
            grad[:, block], x, dense[block], None, [1, 1], [dense.shape[-1] // 2] * 2, [1, 1],
            False, [0, 0], 1, [False, True, False],
        )[1]  # fmt: skip
        for channels, part in zip(plan.dense_channels, grad_dense.split(sizes, 1), strict=True):
            grad_weight[block, channels] = part


def _levels_backward(
    plan: TapPlan,
    grad: Tensor,
    weight: Tensor,
    levels: Sequence[Tensor],
    grad_weight: Tensor | None,
) -> list[Tensor]:
    """Return the gradients of the levels, (N, M, h, w) each; write their shares of ``grad_weight``.

    ``grad`` is (N, O, H, W), contiguous or channels_last.
    """
    by_pixel = is_channels_last(grad)
    channel_blocks, image_blocks = _blocks(plan, grad, levels)
    bins = [[_bins(p[images], by_pixel) for p in levels] for images in image_blocks]
    # Sums over blocks in float32: half precision would round each of them.
    grad_bins = [[torch.zeros_like(p, dtype=_sum_dtype(p)) for p in block] for block in bins]
    for channels in channel_blocks:
        shares = [_layout(weight[channels, part], by_pixel) for part in plan.level_channels]
        sums: list[Tensor | None] = [None] * len(levels)
        for images, block_bins, block_grads in zip(image_blocks, bins, grad_bins, strict=True):
            taps = _gather_all(plan, grad[images, channels], levels, by_pixel)
            for i, (z, share) in enumerate(zip(taps, shares, strict=True)):
                if by_pixel:
                    block_grads[i].flatten(0, 2).add_(z @ share.flatten(1).mT)  # (q, M)
                else:
                    block_grads[i].flatten(1).add_(_weight_matrix(share) @ z)  # (M, q)
                if grad_weight is None:
                    continue
                p, total = block_bins[i], sums[i]
                product = p.flatten(0, 2).mT @ z if by_pixel else p.flatten(1) @ z.mT
                total = product.to(_sum_dtype(product)) if total is None else total.add_(product)
                if images is image_blocks[-1]:
                    _write_share(grad_weight[channels, plan.level_channels[i]], total, by_pixel)
                    total = None
                sums[i] = total
    grad_levels = []
    for level, *grads in zip(levels, *grad_bins, strict=True):
        total = torch.cat(grads).permute(0, 3, 1, 2) if by_pixel else grads[0].transpose(0, 1)
        # Before torch 2.2, the derivative of GELU misreads a layout that its output does not have.
        keep = by_pixel and not level.is_contiguous()
        layout = torch.channels_last if keep else torch.contiguous_format
        grad_levels.append(total.to(level.dtype).contiguous(memory_format=layout))
    return grad_levels


def _bins(level: Tensor, by_pixel: bool) -> Tensor:
    """Copy (N, M, h, w) to (M, N, h, w), or by pixel to (N, h, w, M)."""
    return (level.permute(0, 2, 3, 1) if by_pixel else level.transpose(0, 1)).contiguous()


def _layout(share: Tensor, by_pixel: bool) -> Tensor:
    """Keep (b, M, k, k), or copy it by pixel to (M, k, k, b), once for all images."""
    return share.permute(1, 2, 3, 0).contiguous() if by_pixel else share


def _weight_matrix(share: Tensor) -> Tensor:
    """Flatten (b, M, k, k) to (M, b * k * k), copied in runs as long as the layout allows."""
    out, m, kernel, _ = share.shape
    if share.stride(1) == 1:
        return share.permute(0, 2, 3, 1).reshape(out * kernel**2, m).mT
    return share.transpose(0, 1).reshape(m, out * kernel**2)


def _write_share(share: Tensor, matrix: Tensor, by_pixel: bool) -> None:
    """Write (M, b * k * k), or by pixel (M, k * k * b), into (b, M, k, k)."""
    out, m, kernel, _ = share.shape
    if by_pixel:
        share.copy_(matrix.view(m, kernel, kernel, out).permute(3, 0, 1, 2))
    else:
        share.copy_(matrix.view(m, out, kernel, kernel).transpose(0, 1))


def _taps_at_bins(share: Tensor, bins: Tensor) -> Tensor:
    """Compute Z, (b * k * k, q), of a share (b, M, k, k) and bins (M, q)."""
    if not is_exporting() and bins.shape[1] < MIN_COLUMNS_TO_COPY_WEIGHT:
        return (share.flatten(2).mT @ bins).flatten(0, 1)
    return _weight_matrix(share).mT @ bins


def _spread_all(
    plan: TapPlan, shares: Sequence[Tensor], bins: Sequence[Tensor], by_pixel: bool
) -> Tensor:
    """Compute Z A_w^T of all levels: (N * b, K, W), or by pixel (N, K, W * b).

    The levels' shares of a block of the weight are as ``_layout`` returns them, bins as ``_bins``.
    """
    parts = []
    for share, p, columns in zip(shares, bins, plan.columns, strict=True):
        if by_pixel:
            (n, h, w, m), (_, k, _, b) = p.shape, share.shape
            z = p.view(n * h * w, m) @ share.view(m, k * k * b)
            z = z.view(n, h, w, k, k, b).permute(0, 3, 1, 4, 2, 5).reshape(n * k * h, k * w, b)
            z = columns.expand(len(z), -1, -1) @ z  # (N * k * h, W, b)
            parts.append(z.view(n, k * h, -1))
        else:
            (_, n, h, w), (b, _, k, _) = p.shape, share.shape
            z = _taps_at_bins(share, p.flatten(1)).view(b, k, k, n, h, w)
            z = z.permute(3, 0, 1, 4, 2, 5).reshape(n * b, k * h, k * w)
            parts.append(z @ columns.mT)  # (N * b, k * h, W)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _gather_all(
    plan: TapPlan, grad: Tensor, levels: Sequence[Tensor], by_pixel: bool
) -> Iterator[Tensor]:
    """Yield the gradient of each level's Z: (b * k * k, q), or by pixel (q, k * k * b).

    ``grad`` is a block of the output's gradient, (N, b, H, W).
    """
    n, b, height, width = grad.shape
    k = plan.rows.shape[1] // sum(level.shape[2] for level in levels)
    if by_pixel:
        grad = grad.permute(0, 2, 3, 1).reshape(n, height, width * b)
    else:
        grad = grad.reshape(n * b, height, width)
    spread = plan.rows.mT.expand(len(grad), -1, -1) @ grad
    parts = spread.split([k * level.shape[2] for level in levels], 1)
    for part, level, columns in zip(parts, levels, plan.columns, strict=True):
        h, w = level.shape[2:]
        if by_pixel:
            z = part.reshape(n * k * h, width, b)
            z = columns.mT.expand(len(z), -1, -1) @ z  # (N * k * h, k * w, b)
            z = z.view(n, k, h, k, w, b).permute(0, 2, 4, 1, 3, 5)
            yield z.reshape(n * h * w, -1)
        else:
            z = (part @ columns).view(n, b, k, h, k, w).permute(1, 2, 4, 0, 3, 5)
            yield z.reshape(b * k * k, -1)


def _blocks(plan: TapPlan, y: Tensor, levels: Sequence[Tensor]) -> tuple[list[slice], list[slice]]:
    """Slice the channels and the images of y, (N, O, H, W); either list has a single slice.

    By pixel, images are split if one fits into a block: the weight is then rearranged once.
    """
    n, out, _, width = y.shape
    kernel = plan.rows.shape[1] // sum(level.shape[2] for level in levels)
    taps = sum(kernel**2 * level[0, 0].numel() for level in levels)
    floats = n * out * (taps + plan.rows.shape[1] * width)
    if is_channels_last(y) and floats <= n * BLOCK_FLOATS:
        return [slice(0, out)], _even_slices(n, floats)
    return _even_slices(out, floats), [slice(0, n)]


def _even_slices(size: int, floats: int) -> list[slice]:
    """Slice an axis evenly, each slice with at most ``BLOCK_FLOATS`` of the floats."""
    count = min(size, max(1, -(-floats // BLOCK_FLOATS)))
    step = -(-size // count)
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
