"""The levels' part of ``taps.py`` where the maps of a pixel lie together (channels_last).

It differs from the part there in its layout: a level is a matrix of bins by maps, a product with
the weight gives the taps of each bin by output maps, and what is moved are runs of all these maps.
Blocks are of pictures, where one is not too large for a block, so that the weight is turned once.

Shape shorthand in this module: as in ``taps.py``; q: the bins of a level in n pictures, n * h * w.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pspnet_plugin.models.layers.taps_plan import Plan, blocks, summed


def add_taps_by_pixel(plan: Plan, y: Tensor, weight: Tensor, levels: Sequence[Tensor]) -> None:
    """Adds to a convolution what the levels contribute.

    Args:
        plan: See ``Plan``.
        y: (N, O, H, W), channels_last; changed.
        weight: (O, maps, k, k).
        levels: For each, (N, M, h, w).
    """
    kernel, bins = weight.shape[-1], [_by_pixel(level) for level in levels]
    for maps, pictures in _blocks(plan, y, levels):
        by_tap = [_by_tap(weight[maps, share]) for share in plan.shares]
        out = maps.stop - maps.start
        for some in pictures:
            parts = []
            for level, matrix, columns in zip(bins, by_tap, plan.columns, strict=True):
                n, h, w, _ = level[some].shape
                z = level[some].reshape(n * h * w, -1) @ matrix  # (q, k * k * b)
                z = z.view(n, h, w, kernel, kernel, out).permute(0, 3, 1, 4, 2, 5)
                z = z.reshape(n * kernel * h, kernel * w, out)
                z = columns.expand(len(z), -1, -1) @ z  # (n * k * h, W, b)
                parts.append(z.view(n, kernel * h, -1))
            spread = parts[0] if len(parts) == 1 else torch.cat(parts, 1)  # (n, K, W * b)
            part = _by_pixel(y[some, maps])  # (n, H, W, b)
            part += (plan.rows.expand(len(part), -1, -1) @ spread).view(part.shape)


def taps_derivative_by_pixel(
    plan: Plan,
    grad: Tensor,
    weight: Tensor,
    levels: Sequence[Tensor],
    for_weight: Tensor | None,
) -> list[Tensor]:
    """The derivative of ``add_taps_by_pixel``, each of its steps turned round.

    Args:
        plan: See ``Plan``.
        grad: (N, O, H, W), channels_last.
        weight: (O, maps, k, k).
        levels: For each, (N, M, h, w).
        for_weight: (O, maps, k, k); the levels' shares are written.

    Returns:
        For each level, its gradient (N, M, h, w), contiguous or channels_last as it is.
    """
    kernel, bins = weight.shape[-1], [_by_pixel(level).contiguous() for level in levels]
    # Sums over blocks in float32: half precision would round each of them.
    for_bins = [torch.zeros_like(level, dtype=summed(level)) for level in bins]
    for maps, pictures in _blocks(plan, grad, levels):
        by_tap = [_by_tap(weight[maps, share]) for share in plan.shares]
        for_taps = [torch.zeros_like(matrix, dtype=summed(matrix)) for matrix in by_tap]
        for some in pictures:
            part = _by_pixel(grad[some, maps])
            n, height, width, out = part.shape
            flat = part.reshape(n, height, width * out)
            spread = plan.rows.mT.expand(n, -1, -1) @ flat  # (n, K, W * b)
            parts = spread.split([kernel * level.shape[1] for level in bins], 1)
            for z, level, columns, matrix, found, for_matrix in zip(
                parts, bins, plan.columns, by_tap, for_bins, for_taps, strict=True
            ):
                h, w = level.shape[1:3]
                z = z.reshape(n * kernel * h, width, out)
                z = columns.mT.expand(len(z), -1, -1) @ z
                z = z.view(n, kernel, h, kernel, w, out).permute(0, 2, 4, 1, 3, 5)
                z = z.reshape(n * h * w, -1)  # (q, k * k * b)
                found[some].view(len(z), -1).add_(z @ matrix.mT)
                if for_weight is not None:
                    for_matrix += level[some].view(len(z), -1).mT @ z
        if for_weight is not None:
            for share, matrix in zip(plan.shares, for_taps, strict=True):
                matrix = matrix.view(-1, kernel, kernel, maps.stop - maps.start)
                for_weight[maps, share] = matrix.permute(3, 0, 1, 2)
    # In the layout of the level: before torch 2.2, the derivative of GELU misreads another one.
    return [
        _by_channel(found.to(level.dtype)).contiguous(memory_format=_format(level))
        for found, level in zip(for_bins, levels, strict=True)
    ]


def _blocks(plan: Plan, y: Tensor, levels: Sequence[Tensor]) -> list[tuple[slice, list[slice]]]:
    """Slices of the output maps of y: (N, O, H, W), and for each those of the pictures."""
    n, out, _, width = y.shape
    kernel = plan.rows.shape[1] // sum(level.shape[2] for level in levels)
    taps = sum(kernel**2 * level[0, 0].numel() for level in levels)
    return blocks(n, out, n * out * (taps + plan.rows.shape[1] * width))


def _by_tap(share: Tensor) -> Tensor:
    """(b, M, k, k) to (M, k * k * b)."""
    return share.permute(1, 2, 3, 0).reshape(share.shape[1], -1)


def _by_pixel(maps: Tensor) -> Tensor:
    """(N, M, h, w) to (N, h, w, M), a view."""
    return maps.permute(0, 2, 3, 1)


def _by_channel(maps: Tensor) -> Tensor:
    """(N, h, w, M) to (N, M, h, w), a view."""
    return maps.permute(0, 3, 1, 2)


def _format(maps: Tensor) -> torch.memory_format:
    if maps.is_contiguous():
        return torch.contiguous_format
    return torch.channels_last
