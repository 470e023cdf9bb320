"""UPerNet's head; differs from stock ``UPerHead`` only in how its two bottlenecks are computed.

Stock configs use it under Swin, ConvNeXt, BEiT and ViT.

Shape shorthand in this module: N: batch; M: ``channels``; H, W: size of the largest feature map;
h, w: size of the smallest.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import UPerHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers import (
    forward_over_concat,
    fuse_concat,
    pyramid_levels,
    upsample,
)


@MODELS.register_module()
class FastUPerHead(UPerHead):
    """UPerNet's head (arXiv 1807.10221, figure 4), a drop-in for stock ``UPerHead``.

    Arguments, parameters, their names and outputs are those of ``UPerHead``. Both of its 3x3
    convolutions over a concat, that of the pyramid and that of all levels at the largest size, are
    computed without the upsampled feature maps (see ``layers/pyramid.py``). It also trains with one
    image per batch, as ``FastPSPHead`` does.

    Args:
        pool_scales: Bins of each level of the pyramid: (h, w), or one number for both.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs) -> None:
        super().__init__(pool_scales, **kwargs)
        for module in (self.bottleneck, self.fpn_bottleneck):
            fuse_concat(module, align_corners=self.align_corners)

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Apply the pyramid to the last feature map: (N, M, h, w)."""
        x = inputs[-1]
        levels = pyramid_levels(self.psp_modules, x)
        return forward_over_concat(self.bottleneck, x, levels, align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the feature map that is classified, (N, M, H, W)."""
        inputs = self._transform_inputs(inputs)
        merged = [self.psp_forward(inputs)]  # from the smallest feature map to the largest
        for conv, x in zip(self.lateral_convs[::-1], inputs[-2::-1], strict=True):
            above = upsample(merged[-1], x.shape[2:], align_corners=self.align_corners)
            merged.append(conv(x) + above)
        smallest, *others = merged
        outs = [conv(x) for conv, x in zip(self.fpn_convs, others[::-1], strict=True)]
        return forward_over_concat(
            self.fpn_bottleneck, outs[0], [*outs[1:], smallest], align_corners=self.align_corners
        )
