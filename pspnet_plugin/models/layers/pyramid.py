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
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from pspnet_plugin.models.layers.resampling import (
    interpolation_plane,
    is_exported,
    is_traced,
    matrix_like,
    pooling_matrices,
    pooling_matrix,
    pooling_plane,
    tap_matrix,
)
from pspnet_plugin.models.layers.taps import Plan, conv_with_taps, is_channels_last
from pspnet_plugin.models.layers.torch_versions import autocast_dtype, is_compiling

Size = tuple[int, int]

# What moving a float to memory and back costs, in multiply-adds: what two cores of a Xeon do in the
# time (160 G multiply-adds and 1.3 G floats copied a second), and nearly what large GPUs do.
COPY = 128
# What the dozens of operators beside the convolution cost in themselves, in floats moved: 0.2 ms on
# the same machine.
CALLS = 2**18
# Maps of at most so many pixels are pooled and upsampled by one matrix for the plane, not by one a
# side: more multiply-adds in fewer calls.
PLANE = 1024


def pool(
    x: Tensor,
    bins: Sequence[int | Size],
    *,
    span: Size | None = None,
    align_corners: bool = False,
) -> list[Tensor]:
    """Average pooling to several grids at once, each equal to ``adaptive_avg_pool2d``.

    Args:
        x: (N, C, H, W); it is read once, for all grids.
        bins: Bins of each grid: (h, w), or one number for both.
        span: Size that the map is upsampled to before it is pooled, without the upsampled map being
            made; none by default.
        align_corners: Of that upsampling.

    Returns:
        For each, (N, C, h, w), in the memory format of ``x``.
    """
    grids = [(b, b) if isinstance(b, int) else tuple(b) for b in bins]
    (n, c, height, width), heights = x.shape, tuple(h for h, _ in grids)
    if _on_plane(x.shape[2:]):
        full = span if span is None else tuple(span)
        # (sum of h * w, H * W)
        down = matrix_like(x, pooling_plane, (height, width), tuple(grids), full, align_corners)
        sizes = [h * w for h, w in grids]
        if is_channels_last(x):
            y = down.expand(n, -1, -1) @ x.permute(0, 2, 3, 1).flatten(1, 2)
            parts = zip(y.split(sizes, 1), grids, strict=True)
            return [part.unflatten(1, grid).permute(0, 3, 1, 2) for part, grid in parts]
        y = x.flatten(2) @ down.mT  # (N, C, sum of h * w)
        return [y.unflatten(2, g) for y, g in zip(y.split(sizes, 2), grids, strict=True)]
    rows_to, columns_to = (None, None) if span is None else span
    down = matrix_like(x, pooling_matrices, height, heights, rows_to, align_corners)
    across = [matrix_like(x, pooling_matrix, width, w, columns_to, align_corners) for _, w in grids]
    if is_channels_last(x):
        rows = down.expand(n, -1, -1) @ x.permute(0, 2, 3, 1).flatten(2)  # (N, sum of h, W * C)
        rows = rows.unflatten(2, (width, c)).split(heights, 1)
        # (N, h, w, C)
        parts = [matrix @ part for matrix, part in zip(across, rows, strict=True)]
        return [part.permute(0, 3, 1, 2) for part in parts]
    rows = down.expand(n * c, -1, -1) @ x.reshape(n * c, height, width)  # (N * C, sum of h, W)
    return [
        (part @ matrix.mT).unflatten(0, (n, c))
        for matrix, part in zip(across, rows.split(heights, 1), strict=True)
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
    if not is_traced(x) and tuple(x.shape[2:]) == tuple(to) and span in (None, to):
        return x
    if _on_plane(to) and _on_plane(x.shape[2:]) and not is_channels_last(x):
        plane = matrix_like(
            x, interpolation_plane, tuple(x.shape[2:]), tuple(span or to), align_corners, tuple(to)
        )
        return (x.flatten(2) @ plane.mT).unflatten(2, to)
    rows, columns = (
        matrix_like(x, tap_matrix, size, full, align_corners, 1, keep)
        for size, full, keep in zip(x.shape[2:], span or to, to, strict=True)
    )
    if is_channels_last(x):
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
    x, weight, *levels = (_autocast(t) for t in (x, weight, *levels))
    bias = bias if bias is None else _autocast(bias)
    spans = [to] * len(levels) if spans is None else spans
    separate = apart(x, levels, weight)
    ends = list(accumulate(maps))
    slices = [slice(end - m, end) for end, m in zip(ends, maps, strict=True)]
    inputs, own, alone, shares, rows, columns = [x], slices[:1], [], [], [], []
    for level, share, span, is_apart in zip(levels, slices[1:], spans, separate, strict=True):
        if not is_apart:
            inputs.append(upsample(level, to, align_corners=align_corners, span=span))
            own.append(share)
            continue
        alone.append(level)
        shares.append(share)
        for matrices, size, full, keep in zip(
            (rows, columns), level.shape[2:], span, to, strict=True
        ):
            matrices.append(matrix_like(x, tap_matrix, size, full, align_corners, kernel, keep))
    joined = inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)
    if not alone:
        return F.conv2d(joined, weight, bias, padding=kernel // 2)
    plan = Plan(tuple(own), tuple(shares), torch.cat(rows, 1), tuple(columns))
    return conv_with_taps(plan, joined, weight, bias, alone)


def apart(x: Tensor, levels: Sequence[Tensor], weight: Tensor) -> list[bool]:
    """Which levels cost less when their taps are applied to the bins.

    Counts multiply-adds, and floats that are moved for ``COPY`` multiply-adds each. In an export,
    whose batch is free, those of one picture; where height and width are free too, every level is.

    Args:
        x: (N, C, H, W).
        levels: For each, (N, M, h, w).
        weight: (O, C + sum of M, k, k).

    Returns:
        One truth value a level.
    """
    (n, c, height, width), (out, _, kernel, _) = x.shape, weight.shape
    n = 1 if is_exported() else n
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
    once = (out * (kernel**2 * c + n * height * width) + CALLS) * COPY
    if sum(gain for gain in gains if gain > 0) < once:
        return [False] * len(levels)
    return [gain > 0 for gain in gains]


def _on_plane(size: Size) -> bool:
    # Calls cost nothing in a compiled graph, and the choice would tie it to a range of sizes.
    traced = is_compiling() or torch.jit.is_tracing()
    return not traced and size[0] * size[1] <= PLANE


def _autocast(x: Tensor) -> Tensor:
    """As operators with an autocast rule take it."""
    dtype = autocast_dtype(x.device.type)
    return x if dtype is None or x.dtype == torch.float64 else x.to(dtype)
