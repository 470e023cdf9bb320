"""A convolution over a map and, beside it, over upsampled ones that are never made.

``pyramid.py`` derives the mathematics. Here it is computed in blocks of output maps that stay in
the caches, with a derivative that writes each share of the weight's gradient where it belongs: a
chain of single operators would hold that gradient twice, and all that is between, of every level.

Shape shorthand in this module: N: batch; C: maps of x; M: maps of a level; O: output maps, b: those
of a block; H, W: size of x and of the output; h, w: size of a level; k: side of the kernel; K: the
sum of k * h over levels.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pspnet_plugin.models.layers.resampling import is_exported, is_traced, is_transformed
from pspnet_plugin.models.layers.taps_by_pixel import add_taps_by_pixel, taps_derivative_by_pixel
from pspnet_plugin.models.layers.taps_plan import Plan, even_slices, summed

# Columns of bins below which a product at each output map costs less than a copy of the weight.
FEW = 128


def conv_with_taps(
    plan: Plan, x: Tensor, weight: Tensor, bias: Tensor | None, levels: Sequence[Tensor]
) -> Tensor:
    """The convolution of x, with what the levels add to it.

    Args:
        plan: See ``Plan``.
        x: (N, C, H, W).
        weight: (O, C + sum of M, k, k), k odd.
        bias: (O,).
        levels: For each, (N, M, h, w).

    Returns:
        (N, O, H, W).
    """
    if is_traced(x) or is_transformed():
        return _at_once(plan, x, weight, bias, *levels)
    tensors = x, weight, bias, *levels
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return _ConvWithTaps.apply(plan, *tensors)
    return _by_blocks(plan, *tensors)


def is_channels_last(x: Tensor) -> bool:
    """Whether the maps of a pixel lie together; in exports and transforms, not asked."""
    if is_exported() or is_transformed():
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _at_once(plan: Plan, x: Tensor, weight: Tensor, bias: Tensor | None, *levels: Tensor) -> Tensor:
    """By operators that autograd and tracing follow."""
    y = F.conv2d(x, plan.own_weight(weight), bias, padding=int(weight.shape[-1]) // 2)
    n, out, height, width = y.shape
    spread = _spread(plan, weight, _by_maps(levels), by_pixel=is_channels_last(y))
    if is_channels_last(y):
        y = y.permute(0, 2, 3, 1).reshape(n, height, width * out)
        y = torch.baddbmm(y, plan.rows.expand(n, -1, -1), spread)
        return y.view(n, height, width, out).permute(0, 3, 1, 2)
    y = y.reshape(n * out, height, width)
    return torch.baddbmm(y, plan.rows.expand(n * out, -1, -1), spread).view(n, out, height, width)


def _by_blocks(
    plan: Plan, x: Tensor, weight: Tensor, bias: Tensor | None, *levels: Tensor
) -> Tensor:
    """The same, faster and in less memory; autograd cannot follow."""
    y = F.conv2d(x, plan.own_weight(weight), bias, padding=int(weight.shape[-1]) // 2)
    if is_channels_last(y):
        add_taps_by_pixel(plan, y, weight, levels)
        return y
    levels = _by_maps(levels)
    for block in _blocks(plan, y, levels):
        spread = _spread(plan, weight[block], levels, by_pixel=False)
        for picture, taps in zip(y, spread.view(len(y), -1, *spread.shape[1:]), strict=True):
            rows = plan.rows.expand(len(taps), -1, -1)
            picture[block].baddbmm_(rows, taps)
    return y


def _blocks(plan: Plan, y: Tensor, levels: Sequence[Tensor]) -> Iterator[slice]:
    """Slices of the output maps (of y: (N, O, H, W)), alike in size."""
    n, out, _, width = y.shape
    kernel = plan.rows.shape[1] // sum(level.shape[2] for level in levels)
    taps = sum(kernel**2 * level[0, 0].numel() for level in levels)
    return even_slices(out, n * out * (taps + plan.rows.shape[1] * width))


def _spread(plan: Plan, weight: Tensor, levels: Sequence[Tensor], *, by_pixel: bool) -> Tensor:
    """The taps of all levels, still at their rows of bins but at each column of pixels.

    Args:
        plan: See ``Plan``.
        weight: (b, maps, k, k), a block of it.
        levels: For each, (M, N, h, w).
        by_pixel: Layout of what is returned.

    Returns:
        (N * b, K, W), or by pixel (N, K, W * b).
    """
    parts = []
    for level, maps, columns in zip(levels, plan.shares, plan.columns, strict=True):
        share = weight[:, maps]
        (out, _, kernel, _), (_, n, h, w) = share.shape, level.shape
        z = _taps_at_bins(share, level.flatten(1)).view(out, kernel, kernel, n, h, w)
        if by_pixel:
            z = z.permute(3, 1, 4, 2, 5, 0).reshape(n * kernel * h, kernel * w, out)
            z = columns.expand(len(z), -1, -1) @ z
            parts.append(z.view(n, kernel * h, -1))
        else:
            z = z.permute(3, 0, 1, 4, 2, 5).reshape(n * out, kernel * h, kernel * w)
            parts.append(z @ columns.mT)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _taps_at_bins(share: Tensor, bins: Tensor) -> Tensor:
    """Z: (b, M, k, k) and (M, N * h * w) to (b * k * k, N * h * w)."""
    if not is_exported() and bins.shape[1] < FEW:
        return (share.flatten(2).mT @ bins).flatten(0, 1)
    return _by_tap(share) @ bins


def _by_tap(share: Tensor) -> Tensor:
    """(b, M, k, k) to (b * k * k, M), copied in runs as long as the layout allows."""
    out, maps, kernel, _ = share.shape
    if share.stride(1) == 1:
        return share.permute(0, 2, 3, 1).reshape(out * kernel**2, maps)
    return share.transpose(0, 1).reshape(maps, out * kernel**2).mT


def _by_maps(levels: Sequence[Tensor]) -> list[Tensor]:
    """Each (N, M, h, w) to (M, N, h, w), contiguous."""
    return [level.transpose(0, 1).contiguous() for level in levels]


class _ConvWithTaps(torch.autograd.Function):
    """``_by_blocks`` with its derivative."""

    @staticmethod
    def forward(plan, x, weight, bias, *levels):
        return _by_blocks(plan, x, weight, bias, *levels)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, grad):
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # a derivative of the derivative is asked for
            found = iter(
                torch.autograd.grad(
                    _at_once(ctx.plan, *tensors),
                    [t for t, need in zip(tensors, needed, strict=True) if need],
                    grad,
                    create_graph=True,
                )
            )
            return None, *(next(found) if need else None for need in needed)
        x, weight, _, *levels = tensors
        by_pixel = is_channels_last(grad)
        if not by_pixel:
            grad = grad.contiguous()
        # That of x first: it needs a copy of its share of the weight, which then is gone.
        own, margin = ctx.plan.own_weight(weight), weight.shape[-1] // 2
        for_x = F.conv_transpose2d(grad, own, padding=margin) if needed[0] else None
        for_weight = torch.empty_like(weight) if needed[1] else None
        if needed[1]:
            _fill_own(ctx.plan, grad, x, own, for_weight)
        for_bias = grad.sum((0, 2, 3)) if needed[2] else None
        derive = taps_derivative_by_pixel if by_pixel else _taps_derivative
        for_levels = derive(ctx.plan, grad, weight, levels, for_weight)
        found = (
            level if need else None for level, need in zip(for_levels, needed[3:], strict=True)
        )
        return None, for_x, for_weight, for_bias, *found


def _fill_own(plan: Plan, grad: Tensor, x: Tensor, own: Tensor, for_weight: Tensor) -> None:
    """Writes the gradient of x's shares (O, C, k, k) into that of the weight, block by block."""
    sizes = [maps.stop - maps.start for maps in plan.own]
    for block in even_slices(len(own), own.numel()):
        found = torch.ops.aten.convolution_backward(
            grad[:, block], x, own[block], None, [1, 1], [own.shape[-1] // 2] * 2, [1, 1],
            False, [0, 0], 1, [False, True, False],
        )[1]  # fmt: skip
        for maps, part in zip(plan.own, found.split(sizes, 1), strict=True):
            for_weight[block, maps] = part


def _taps_derivative(
    plan: Plan,
    grad: Tensor,
    weight: Tensor,
    levels: Sequence[Tensor],
    for_weight: Tensor | None,
) -> list[Tensor]:
    """The derivative of what levels add: ``_spread`` and the product with A_h, turned round.

    Args:
        plan: See ``Plan``.
        grad: (N, O, H, W), contiguous.
        weight: (O, maps, k, k).
        levels: For each, (N, M, h, w).
        for_weight: (O, maps, k, k); the levels' shares are written.

    Returns:
        For each level, its gradient (N, M, h, w).
    """
    kernel, by_maps = weight.shape[-1], _by_maps(levels)
    # Sums over blocks in float32: half precision would round each of them.
    for_levels = [torch.zeros_like(level, dtype=summed(level)) for level in by_maps]
    for block in _blocks(plan, grad, by_maps):
        part = grad[:, block]
        n, out, height, width = part.shape
        rows = plan.rows.mT.expand(n * out, -1, -1)
        spread = rows @ part.reshape(n * out, height, width)  # (N * b, K, W)
        parts = spread.split([kernel * level.shape[2] for level in by_maps], 1)
        for z, level, maps, columns, found in zip(
            parts, by_maps, plan.shares, plan.columns, for_levels, strict=True
        ):
            h, w = level.shape[2:]
            z = (z @ columns).view(n, out, kernel, h, kernel, w).permute(1, 2, 4, 0, 3, 5)
            z = z.reshape(out * kernel**2, n * h * w)
            found += (_by_tap(weight[block, maps]).mT @ z).view(found.shape)
            if for_weight is not None:
                by_tap = level.flatten(1) @ z.mT  # (M, b * k * k)
                for_weight[block, maps] = by_tap.view(-1, out, kernel, kernel).transpose(0, 1)
    # Contiguous: before torch 2.2, the derivative of GELU misreads anything else.
    return [
        found.transpose(0, 1).to(level.dtype).contiguous()
        for found, level in zip(for_levels, by_maps, strict=True)
    ]
