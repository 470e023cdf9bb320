"""Pyramid pooling without the upsampled feature maps: a convolution over their concat, exactly.

PSPNet's head (arXiv 1612.01105, figure 3) pools a feature map to a few grids of bins, upsamples
them to its size, and runs a 3x3 convolution over the concat of all. Upsampling and convolution are
linear, and bilinear upsampling is separable, so the two can change places. With U_h (H, h) and
U_w (W, w) the interpolation matrices of one level p, its upsampled feature map is ``U_h p U_w^T``.
With W_(d, e) (O, M) the level's share of the weight at tap (d, e) of the k x k kernel, the level
adds to the output at pixel (i, j)::

    y[i, j]  =  sum_(d, e)  W_(d, e) (U_h p U_w^T)[i + d - r, j + e - r]          r = (k - 1) / 2
             =  sum_(d, a)  A_h[i, (d, a)]  sum_(e, b)  Z[(d, a), (e, b)]  A_w[j, (e, b)]

    Z[(d, a), (e, b)]  =  W_(d, e) p[a, b]                   each tap, applied to each bin
    A_h[i, (d, a)]     =  U_h[i + d - r, a]                  zero where i + d - r is outside, which
                                                             is the convolution's zero padding

Z costs k^2 O M h w multiply-adds, the convolution over the upsampled level k^2 O M H W. The levels'
products with A_h are sums over (d, a), so all levels share one, their A_h side by side.
``tap_products.py`` computes them.

A 1x1 convolution is the case of one tap: it runs at each level's own size, and its sums are
upsampled.

Pooling to bins is a product with two matrices too, ``P_h x P_w^T``. Products have a deterministic
backward on every device, and they export at any size.

Shape shorthand in this module: N: batch; C: channels of x; M: channels of a level; O: output
channels; H, W: size of x and of the output; h, w: size of a level; k: side of the kernel.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from pspnet_plugin.models.layers.resampling import (
    autocast,
    interpolation_plane,
    is_channels_last,
    is_exporting,
    is_traced,
    matrix_like,
    pooling_matrix,
    pooling_plane,
    tap_matrix,
)
from pspnet_plugin.models.layers.tap_products import TapPlan, conv_with_taps
from pspnet_plugin.utils.resizing import Size

# Multiply-adds in the time of copying one float: measured on two cores of a Xeon (160 G multiply-
# adds or 1.3 G copied floats a second), and nearly true of large GPUs.
MULTIPLY_ADDS_PER_COPY = 128
# Fixed cost of the dozens of operators beside the convolution, in copied floats: 0.2 ms there.
OVERHEAD_COPIES = 2**18
# Up to this size, feature maps are pooled and upsampled by one matrix for the plane instead of one
# for each axis: more multiply-adds in fewer calls.
MAX_PLANE_PIXELS = 1024


def pool(
    x: Tensor,
    bins: Sequence[int | Size],
    *,
    resized_to: Size | None = None,
    align_corners: bool = False,
) -> list[Tensor]:
    """Average-pool to several grids at once, each equal to ``adaptive_avg_pool2d``.

    Args:
        x: (N, C, H, W); read once for all grids.
        bins: (h, w) of each grid, or one number for both.
        resized_to: Size that x is interpolated to before pooling, without computing the resized
            feature map; no resizing by default.
        align_corners: Convention of that interpolation.

    Returns:
        (N, C, h, w) for each grid, in the memory format of ``x``.
    """
    grids = [(b, b) if isinstance(b, int) else (b[0], b[1]) for b in bins]
    n, c, height, width = x.shape
    size = (height, width)
    if _fits_plane(x, size):
        to = None if resized_to is None else (resized_to[0], resized_to[1])
        down = matrix_like(x, pooling_plane, size, tuple(grids), to, align_corners)
        sizes = [h * w for h, w in grids]  # down: (sum of h * w, H * W)
        if is_channels_last(x):
            y = down.expand(n, -1, -1) @ x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, sum of h * w, C)
            parts = zip(y.split(sizes, 1), grids, strict=True)
            return [part.unflatten(1, grid).permute(0, 3, 1, 2) for part, grid in parts]
        y = x.flatten(2) @ down.mT  # (N, C, sum of h * w)
        return [y.unflatten(2, g) for y, g in zip(y.split(sizes, 2), grids, strict=True)]
    rows_to, columns_to = (None, None) if resized_to is None else resized_to
    heights = tuple(h for h, _ in grids)
    down = matrix_like(x, pooling_matrix, height, heights, rows_to, align_corners)
    across = [
        matrix_like(x, pooling_matrix, width, (w,), columns_to, align_corners) for _, w in grids
    ]
    if is_channels_last(x):
        y = down.expand(n, -1, -1) @ x.permute(0, 2, 3, 1).flatten(2)  # (N, sum of h, W * C)
        bands = y.unflatten(2, (width, c)).split(heights, 1)
        pooled = [matrix @ band for matrix, band in zip(across, bands, strict=True)]
        return [level.permute(0, 3, 1, 2) for level in pooled]  # (N, h, w, C) to (N, C, h, w)
    y = down.expand(n * c, -1, -1) @ x.reshape(n * c, height, width)  # (N * C, sum of h, W)
    return [
        (band @ matrix.mT).unflatten(0, (n, c))
        for matrix, band in zip(across, y.split(heights, 1), strict=True)
    ]


def upsample(
    x: Tensor, to: Sequence[int], *, align_corners: bool, crop: Sequence[int] | None = None
) -> Tensor:
    """Upsample bilinearly, equal to ``F.interpolate``.

    Args:
        x: (N, M, h, w).
        to: Height and width after upsampling.
        align_corners: As in ``F.interpolate``.
        crop: (H, W), the upper left part that is kept of ``to``; all of it by default.

    Returns:
        (N, M, H, W).
    """
    (n, m, h, w), (height, width) = x.shape, to if crop is None else crop
    to, crop = (to[0], to[1]), (height, width)
    if not is_traced(x) and (h, w) == to == crop:
        return x
    if _fits_plane(x, crop) and _fits_plane(x, (h, w)) and not is_channels_last(x):
        plane = matrix_like(x, interpolation_plane, (h, w), to, align_corners, crop)
        return (x.flatten(2) @ plane.mT).unflatten(2, crop)
    rows = matrix_like(x, tap_matrix, h, to[0], align_corners, 1, height)  # (H, h)
    columns = matrix_like(x, tap_matrix, w, to[1], align_corners, 1, width)  # (W, w)
    if is_channels_last(x):
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
    upsampled_sizes: Sequence[Size] | None = None,
) -> Tensor:
    """Convolve the concat of x and of levels that are upsampled to its size.

    Equal to ``conv2d(cat([x, upsample(p), ...], 1), weight, bias, padding=k // 2)``. Levels where
    it pays (see ``pays_at_bins``) are never upsampled.

    Args:
        x: (N, C, H, W).
        levels: (N, M, h, w) each; M may differ.
        weight: (O, C + sum of M, k, k), k odd.
        bias: (O,).
        align_corners: Convention of the bilinear upsampling.
        upsampled_sizes: Size that each level is upsampled to, of which the upper left (H, W) is
            kept; (H, W) by default.

    Returns:
        (N, O, H, W).

    Raises:
        ValueError: The kernel is even or not square, or the channels do not match the weight.
    """
    height, width = x.shape[2:]
    size, kernel = (height, width), weight.shape[-1]
    channels = [x.shape[1], *(level.shape[1] for level in levels)]
    if kernel % 2 == 0 or weight.shape[2] != kernel or weight.shape[1] != sum(channels):
        raise ValueError(
            f'conv_over_concat: weight has shape {tuple(weight.shape)}; expected '
            f'(O, {" + ".join(map(str, channels))}, k, k) with an odd k'
        )
    x, weight, *levels = (autocast(t) for t in (x, weight, *levels))
    bias = bias if bias is None else autocast(bias)
    sizes = [size] * len(levels) if upsampled_sizes is None else upsampled_sizes
    ends = accumulate(channels)
    x_slice, *slices = (slice(end - c, end) for end, c in zip(ends, channels, strict=True))
    dense, dense_channels = [x], [x_slice]
    level_channels, bin_levels, rows, columns = [], [], [], []
    pays = pays_at_bins(x, levels, weight)
    for level, part, to, at_bins in zip(levels, slices, sizes, pays, strict=True):
        if not at_bins:
            dense.append(upsample(level, to, align_corners=align_corners, crop=size))
            dense_channels.append(part)
            continue
        h, w = level.shape[2:]
        bin_levels.append(level)
        level_channels.append(part)
        rows.append(matrix_like(x, tap_matrix, h, to[0], align_corners, kernel, height))
        columns.append(matrix_like(x, tap_matrix, w, to[1], align_corners, kernel, width))
    x = dense[0] if len(dense) == 1 else torch.cat(dense, 1)
    if not bin_levels:
        return F.conv2d(x, weight, bias, padding=kernel // 2)
    plan = TapPlan(tuple(dense_channels), tuple(level_channels), torch.cat(rows, 1), tuple(columns))
    return conv_with_taps(plan, x, weight, bias, bin_levels)


def pays_at_bins(x: Tensor, levels: Sequence[Tensor], weight: Tensor) -> list[bool]:
    """Tell for each level whether its taps cost less at the bins than at the pixels.

    Compares multiply-adds plus ``MULTIPLY_ADDS_PER_COPY`` for each float moved. An export counts
    one image, as its batch is free; if height and width are free too, every level stays at its
    bins. A level of x's size is none of bins: it needs no upsampling. Shapes are those of
    ``conv_over_concat``.
    """
    (n, c, height, width), (out, _, kernel, _) = x.shape, weight.shape
    n = 1 if is_exporting() else n
    if not all(isinstance(size, int) for t in (x, *levels) for size in t.shape[2:]):
        return [True] * len(levels)
    copy = MULTIPLY_ADDS_PER_COPY
    gains = []
    for level in levels:
        m, h, w = level.shape[1:]
        direct = n * m * height * width * (kernel**2 * out + 2 * copy)
        taps = n * out * kernel**2 * h * w * (m + 2 * copy)
        spread = n * out * kernel * h * width * (kernel * w + height + copy)
        gains.append(direct - taps - spread if (h, w) != (height, width) else 0)
    # Once for all levels, x's share of the weight is copied, and the output read and written.
    once = (out * (kernel**2 * c + n * height * width) + OVERHEAD_COPIES) * copy
    if sum(gain for gain in gains if gain > 0) < once:
        return [False] * len(levels)
    return [gain > 0 for gain in gains]


def _fits_plane(x: Tensor, size: Size) -> bool:
    # Calls cost nothing in a compiled graph, and the choice would tie it to a range of sizes.
    return not is_traced(x) and size[0] * size[1] <= MAX_PLANE_PIXELS
