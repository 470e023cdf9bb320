"""What the fast heads share: the levels of a stock ``PPM``, and the module over their concat.

Shape shorthand in this module: as in ``pyramid.py``.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.models.layers.concat_conv import ConcatConv2d, Parts
from pspnet_plugin.models.layers.pyramid import pool, upsample


def pyramid_levels(
    modules: PPM, x: Tensor, smaller: Sequence[Tensor] = (), *, align_corners: bool = False
) -> list[Tensor]:
    """Each level of the pyramid, before upsampling.

    Args:
        modules: The stock pyramid; of each level the convolution module is used.
        x: (N, C, H, W).
        smaller: Maps (N, M, h, w) that are joined with it, as if they were upsampled to its size.
        align_corners: Of that upsampling.

    Returns:
        For each level, (N, channels, bins, bins).
    """
    scales, to = modules.pool_scales, tuple(x.shape[2:])
    pooled = [pool(x, scales)]
    pooled += [pool(m, scales, span=to, align_corners=align_corners) for m in smaller]
    bins = [torch.cat(parts, 1) for parts in zip(*pooled, strict=True)] if smaller else pooled[0]
    return [on_bins(module, part) for (_, module), part in zip(modules, bins, strict=True)]


def accept_parts(module: ConvModule, *, align_corners: bool) -> None:
    """Makes ``over_concat`` fast for a module, if its convolution is a plain one."""
    if type(module.conv) is nn.Conv2d:
        module.conv = ConcatConv2d.like(module.conv, align_corners=align_corners)


def over_concat(
    module: ConvModule, x: Tensor, levels: Sequence[Tensor], *, align_corners: bool
) -> Tensor:
    """``module(cat([x, upsample(p), ...], 1))``.

    Args:
        module: A 3x3 convolution with norm and activation. What it is made of by a ``conv_cfg``
            that is no plain convolution (deformable, say) gets the concat itself.
        x: (N, C, H, W).
        levels: For each level, (N, M, h, w).
        align_corners: Of the bilinear upsampling.

    Returns:
        (N, O, H, W).
    """
    if isinstance(module.conv, ConcatConv2d):
        return module(Parts(x, levels))
    to = x.shape[2:]
    maps = [upsample(level, to, align_corners=align_corners) for level in levels]
    return module(torch.cat([x, *maps], 1))


def on_bins(module: ConvModule, x: Tensor) -> Tensor:
    """``module(x)`` in any mode, even where a batch norm would have one value a channel.

    One value has no variance, so stock heads refuse to train with one picture and one bin. Here
    that norm takes its running statistics instead, and leaves them as they are.

    Args:
        module: Convolution, norm and activation of a level, in this order.
        x: (N, C, h, w).

    Returns:
        (N, M, h, w).
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
    over_ranks = (
        isinstance(norm, nn.SyncBatchNorm) and dist.is_available() and dist.is_initialized()
    )
    return not over_ranks or dist.get_world_size() == 1
