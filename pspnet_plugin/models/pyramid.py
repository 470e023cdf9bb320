"""Pyramid pooling without the upsampled maps: a convolution over their concat, computed exactly.

The paper's head (arXiv 1612.01105, figure 3) pools a map to a few grids of bins, upsamples them to
the map's size, and runs a 3x3 convolution over the concat of all. Upsampling and convolution are
linear, and bilinear upsampling is separable, so the two can change places. With U_h (H, h) and
U_w (W, w) the interpolation matrices of one level, its upsampled map is ``U_h p U_w^T``, and what
its share of the weight W_t (O, M), for each tap t = (d, e) of the k x k kernel, adds to the output
at pixel (i, j) is::

    y[i, j]  =  sum_(d, e)  W_(d, e) (U_h p U_w^T)[i + d - r, j + e - r]          r = (k - 1) / 2
             =  sum_(d, a)  A_h[i, (d, a)]  sum_(e, b)  Z[(d, a), (e, b)]  A_w[j, (e, b)]

    Z[(d, a), (e, b)]  =  W_(d, e) p[a, b]                   the taps, applied to the bins
    A_h[i, (d, a)]     =  U_h[i + d - r, a]                  zero where i + d - r is off the map,
                                                             which is the convolution's zero padding

Z costs k^2 O M h w multiply-adds, the convolution over the upsampled map k^2 O M H W. The levels'
products with A_h are sums over (d, a), so all levels share one, their A_h side by side.

Pooling to bins is a product with two matrices too, ``P_h x P_w^T``. Products have a deterministic
backward on every device, and they export at any size.

Shape shorthand in this module: N: batch; C: maps of x; M: maps of a level; O: output maps;
H, W: size of x and of the output; h, w: size of a level; k: side of the kernel.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pspnet_plugin.models.resampling import (
    matrix_like,
    pooling_matrices,
    pooling_matrix,
    tap_matrix,
)

Size = tuple[int, int]

# What moving a float to memory and back costs, in multiply-adds: what two cores of a Xeon do in the
# time (160 G multiply-adds and 1.3 G floats copied a second), and nearly what large GPUs do.
COPY = 128


def pool(x: Tensor, bins: Sequence[int | Size]) -> list[Tensor]:
    """Average pooling to several grids at once, each equal to ``adaptive_avg_pool2d``.

    Args:
        x: (N, C, H, W); it is read once, for all grids.
        bins: Bins of each grid: (h, w), or one number for both.

    Returns:
        For each, (N, C, h, w), in the memory format of ``x``.
    """
    grids = [(b, b) if isinstance(b, int) else tuple(b) for b in bins]
    (n, c, height, width), heights = x.shape, tuple(h for h, _ in grids)
    down = matrix_like(x, pooling_matrices, height, heights)  # (sum of h, H)
    if _is_channels_last(x):
        rows = down.expand(n, -1, -1) @ x.permute(0, 2, 3, 1).flatten(2)  # (N, sum of h, W * C)
        rows = rows.unflatten(2, (width, c))
        parts = [
            matrix_like(x, pooling_matrix, width, w) @ part  # (N, h, w, C)
            for part, (_, w) in zip(rows.split(heights, 1), grids, strict=True)
        ]
        return [part.permute(0, 3, 1, 2) for part in parts]
    rows = down.expand(n * c, -1, -1) @ x.reshape(n * c, height, width)  # (N * C, sum of h, W)
    return [
        (part @ matrix_like(x, pooling_matrix, width, w).mT).unflatten(0, (n, c))
        for part, (_, w) in zip(rows.split(heights, 1), grids, strict=True)
    ]


def upsample(x: Tensor, to: Size, *, align_corners: bool, span: Size | None = None) -> Tensor:
    """Bilinear upsampling, equal to ``F.interpolate``.

    Args:
        x: (N, M, h, w).
        to: (H, W).
        align_corners: As ``F.interpolate`` has it.
        span: Size to upsample to, of which the upper left ``to`` is kept; ``to`` itself by default.

    Returns:
        (N, M, H, W).
    """
    rows, columns = (
        matrix_like(x, tap_matrix, size, full, align_corners, 1, keep)
        for size, full, keep in zip(x.shape[2:], span or to, to, strict=True)
    )
    if _is_channels_last(x):
        (n, m, h, w), (height, width) = x.shape, to
        y = columns.expand(n * h, -1, -1) @ x.permute(0, 2, 3, 1).reshape(n * h, w, m)
        y = rows.expand(n, -1, -1) @ y.view(n, h, width * m)  # (N, H, W * M)
        return y.view(n, height, width, m).permute(0, 3, 1, 2)
    return rows @ (x @ columns.mT)


def conv_over_concat(
    x: Tensor,
    levels: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    align_corners: bool = False,
    spans: Sequence[Size] | None = None,
) -> Tensor:
    """Convolution over the concat of a map and of smaller ones, upsampled to its size.

    Equal to ``conv2d(cat([x, upsample(p), ...], 1), weight, bias, padding=k // 2)``. Levels whose
    upsampling costs less than what it saves (see ``apart``) are never upsampled.

    Args:
        x: (N, C, H, W).
        levels: For each level, (N, M, h, w); M may differ.
        weight: (O, C + sum of M, k, k), k odd.
        bias: (O,).
        align_corners: Of the bilinear upsampling.
        spans: For each level the size to upsample to, of which the upper left (H, W) is kept;
            (H, W) by default.

    Returns:
        (N, O, H, W).

    Raises:
        ValueError: the kernel is even or not square, or the weight is for another number of maps.
    """
    to, kernel = x.shape[2:], weight.shape[-1]
    maps = [x.shape[1], *(level.shape[1] for level in levels)]
    if kernel % 2 == 0 or weight.shape[2] != kernel or weight.shape[1] != sum(maps):
        raise ValueError(
            f'conv_over_concat: weight of shape {tuple(weight.shape)}: expected '
            f'(O, {" + ".join(map(str, maps))}, k, k) with an odd k'
        )
    spans = [to] * len(levels) if spans is None else spans
    separate = apart(x, levels, weight)
    inputs, weights, rest = [x], [], []
    first, *shares = weight.split(maps, 1)
    weights.append(first)
    for level, share, span, alone in zip(levels, shares, spans, separate, strict=True):
        if alone:
            rest.append((level, share, span))
        else:
            inputs.append(upsample(level, to, align_corners=align_corners, span=span))
            weights.append(share)
    joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)
    if not rest:
        return F.conv2d(joined, weight, bias, padding=kernel // 2)
    own = weights[0] if len(weights) == 1 else torch.cat(weights, 1)
    y = F.conv2d(joined, own, bias, padding=kernel // 2)
    return _add_taps(y, rest, align_corners=align_corners)


def apart(x: Tensor, levels: Sequence[Tensor], weight: Tensor) -> list[bool]:
    """Which levels cost less when their taps are applied to the bins.

    Counts multiply-adds, and floats that are moved for ``COPY`` multiply-adds each. Where sizes are
    symbolic (an export with dynamic height and width), every level is.

    Args:
        x: (N, C, H, W).
        levels: For each, (N, M, h, w).
        weight: (O, C + sum of M, k, k).

    Returns:
        One truth value a level.
    """
    (n, c, height, width), (out, _, kernel, _) = x.shape, weight.shape
    if not all(isinstance(size, int) for m in (x, *levels) for size in m.shape[2:]):
        return [True] * len(levels)
    gains = []
    for level in levels:
        m, h, w = level.shape[1:]
        direct = n * m * height * width * (kernel**2 * out + 2 * COPY)
        taps = n * out * kernel**2 * h * w * (m + 2 * COPY)
        spread = n * out * kernel * h * width * (kernel * w + height + COPY)
        gains.append(direct - taps - spread)
    # Once for all of them, the weight's share for x is copied, and the output read and written.
    once = out * (kernel**2 * c + n * height * width) * COPY
    if sum(gain for gain in gains if gain > 0) < once:
        return [False] * len(levels)
    return [gain > 0 for gain in gains]


def _add_taps(
    y: Tensor, levels: Sequence[tuple[Tensor, Tensor, Size]], *, align_corners: bool
) -> Tensor:
    """Adds to y (N, O, H, W) what levels (N, M, h, w) give by their shares (O, M, k, k)."""
    n, out, height, width = y.shape
    by_pixel = _is_channels_last(y)
    spread, rows = [], []
    for level, share, span in levels:
        (h, w), kernel = level.shape[2:], share.shape[-1]
        a_h, a_w = (  # (H, k * h), (W, k * w)
            matrix_like(y, tap_matrix, size, full, align_corners, kernel, keep)
            for size, full, keep in zip((h, w), span, (height, width), strict=True)
        )
        z = _taps_at_bins(level, share).view(out, kernel, kernel, n, h, w)
        if by_pixel:
            z = z.permute(3, 1, 4, 2, 5, 0).reshape(n * kernel * h, kernel * w, out)
            z = (a_w.expand(len(z), -1, -1) @ z).view(n, kernel * h, width * out)
        else:
            z = z.permute(3, 0, 1, 4, 2, 5).reshape(n * out, kernel * h, kernel * w)
            z = z @ a_w.mT  # (N * O, k * h, W)
        spread.append(z)
        rows.append(a_h)
    a_h, z = torch.cat(rows, 1), torch.cat(spread, 1)  # (H, sum of k * h)
    if by_pixel:
        y = y.permute(0, 2, 3, 1).reshape(n, height, width * out)
        y = torch.baddbmm(y, a_h.expand(n, -1, -1), z)
        return y.view(n, height, width, out).permute(0, 3, 1, 2)
    y = y.reshape(n * out, height, width)
    return torch.baddbmm(y, a_h.expand(n * out, -1, -1), z).view(n, out, height, width)


def _taps_at_bins(level: Tensor, share: Tensor) -> Tensor:
    """Z: (N, M, h, w) and (O, M, k, k) to (O, k * k, N * h * w)."""
    bins = level.transpose(0, 1).flatten(1)  # (M, N * h * w)
    if bins.shape[1] < COPY:  # fewer multiply-adds than a copy of the weight would cost
        return share.flatten(2).mT @ bins
    out, maps, kernel, _ = share.shape
    z = share.permute(0, 2, 3, 1).reshape(out * kernel**2, maps) @ bins
    return z.view(out, kernel**2, -1)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
