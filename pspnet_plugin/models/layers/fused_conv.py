"""The modules of stock heads around a concat, computed without the concat.

A stock head calls ``bottleneck(torch.cat([x, *upsampled levels], 1))``. A fast head replaces the
convolution in its ``bottleneck`` once, by ``fuse_concat``, and calls ``forward_over_concat``. The
module stays a ``ConvModule``: parameter names, norm, activation, hooks and the fusing of
convolution and norm are those of stock.

Shape shorthand in this module: N: batch; C: channels of x; M: channels of a level; O: output
channels; H, W: size of x; h, w: size of a level.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.models.layers.pyramid import conv_over_concat, pool, upsample
from pspnet_plugin.utils.resizing import Size


class Parts(NamedTuple):
    """Feature map x (N, C, H, W) and levels (N, M, h, w), not concatenated.

    ``upsampled_sizes`` is that of ``conv_over_concat``.
    """

    x: Tensor
    levels: Sequence[Tensor]
    upsampled_sizes: Sequence[Size] | None = None


class ConcatConv2d(nn.Conv2d):
    """``nn.Conv2d`` of stride 1 that keeps the size, and takes a concat or its ``Parts``.

    ``in_channels`` is C + sum of M, ``align_corners`` the convention of the levels' upsampling.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        align_corners: bool,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
        )
        self.align_corners = align_corners

    # Called by nn.Conv2d.forward, and by mmcv with a weight that it has changed.
    def _conv_forward(self, input: Tensor | Parts, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(input, Tensor):
            return super()._conv_forward(input, weight, bias)
        x, levels, sizes = input
        return conv_over_concat(
            x, levels, weight, bias, align_corners=self.align_corners, upsampled_sizes=sizes
        )


def fuse_concat(module: ConvModule, *, align_corners: bool) -> bool:
    """Let a module take ``Parts``, with the same parameters, and return whether it does.

    A module with another convolution than ``ConcatConv2d`` computes (dilated, strided, grouped, of
    an even kernel, or deformable by its ``conv_cfg``, say) is left as it is.
    """
    conv = module.conv
    if not _fits_concat(conv):
        return False
    with torch.device('meta'):  # the parameters are replaced; the random state stays
        fused = ConcatConv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            align_corners=align_corners,
            bias=conv.bias is not None,
        )
    fused.weight, fused.bias = conv.weight, conv.bias
    module.conv = fused
    return True


def _fits_concat(conv: nn.Module) -> bool:
    """Tell whether ``ConcatConv2d`` computes a convolution: odd, square, and plain otherwise."""
    if type(conv) is not nn.Conv2d:
        return False
    kernel = conv.kernel_size[0]
    return (
        kernel % 2 == 1
        and conv.kernel_size == (kernel, kernel)
        and conv.padding == (kernel // 2, kernel // 2)
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
    )


def forward_over_concat(
    module: ConvModule, x: Tensor, levels: Sequence[Tensor], *, align_corners: bool
) -> Tensor:
    """Return ``module(cat([x, upsample(p), ...], 1))``, (N, O, H, W), where p are the levels."""
    if isinstance(module.conv, ConcatConv2d):
        return module(Parts(x, levels))
    resized = [upsample(level, x.shape[2:], align_corners=align_corners) for level in levels]
    return module(torch.cat([x, *resized], 1))


def pyramid_levels(
    modules: PPM, x: Tensor, others: Sequence[Tensor] = (), *, align_corners: bool = False
) -> list[Tensor]:
    """Compute the levels of a stock pyramid before upsampling, (N, M, bins, bins) each.

    Args:
        modules: Stock pyramid, whose convolution modules are called.
        x: (N, C, H, W).
        others: Feature maps of any size whose channels are concatenated to x, as if they were
            resized to its size.
        align_corners: Convention of that resizing.
    """
    scales, (height, width) = modules.pool_scales, x.shape[2:]
    pooled = [pool(x, scales)]
    for other in others:
        size = (height, width)
        pooled.append(pool(other, scales, resized_to=size, align_corners=align_corners))
    bins = [torch.cat(parts, 1) for parts in zip(*pooled, strict=True)] if others else pooled[0]
    return [forward_level(module, p) for (_, module), p in zip(modules, bins, strict=True)]


def forward_level(module: ConvModule, x: Tensor) -> Tensor:
    """Return ``module(x)``, also where a batch norm in training has one value per channel.

    One value has no variance, so stock heads cannot train with one image and one bin. Here that
    norm uses its running statistics, and leaves them unchanged.

    Args:
        module: Convolution, norm and activation of a level, in this order.
        x: Pooled feature map, (N, C, h, w).
    """
    norm = module.norm
    if not (_lacks_variance(norm, x) and norm.track_running_stats):
        return module(x)
    y = F.batch_norm(
        module.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    return module.activate(y) if module.with_activation else y


def _lacks_variance(norm: nn.Module | None, x: Tensor) -> bool:
    if not (isinstance(norm, _BatchNorm) and norm.training) or x.shape[0] * x[0, 0].numel() > 1:
        return False
    synced = isinstance(norm, nn.SyncBatchNorm) and dist.is_available() and dist.is_initialized()
    return not synced or dist.get_world_size() == 1
