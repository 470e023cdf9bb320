"""Stock ``UPerHead`` (under Swin, ConvNeXt, BEiT, ViT), by the mathematics of ``pyramid.py``.

Shape shorthand in this module: N: batch; M: ``channels``; H, W: size of the largest map.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import UPerHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers.head_parts import accept_parts, over_concat, pyramid_levels
from pspnet_plugin.models.layers.pyramid import upsample


@MODELS.register_module()
class FastUPerHead(UPerHead):
    """UPerNet's head (arXiv 1807.10221, figure 4), a drop-in for stock ``UPerHead``.

    Arguments, parameters, their names and the outputs are those of ``UPerHead``. Both of its 3x3
    convolutions over a concat, that of the pyramid and that of all levels at the largest size, are
    computed without the upsampled maps. And it trains with one picture a batch, as ``FastPSPHead``.

    Args:
        pool_scales: Bins of each level of the pyramid: (h, w), or one number for both.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs) -> None:
        super().__init__(pool_scales, **kwargs)
        for module in (self.bottleneck, self.fpn_bottleneck):
            accept_parts(module, align_corners=self.align_corners)

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The pyramid over the last of the maps: (N, M, h, w), of its size."""
        x = inputs[-1]
        levels = pyramid_levels(self.psp_modules, x)
        return over_concat(self.bottleneck, x, levels, align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The maps that are classified, (N, M, H, W)."""
        inputs = self._transform_inputs(inputs)
        merged = [self.psp_forward(inputs)]  # from the smallest map to the largest
        for conv, x in zip(self.lateral_convs[::-1], inputs[-2::-1], strict=True):
            above = upsample(merged[-1], x.shape[2:], align_corners=self.align_corners)
            merged.append(conv(x) + above)
        smallest, *others = merged
        outs = [conv(x) for conv, x in zip(self.fpn_convs, others[::-1], strict=True)]
        return over_concat(
            self.fpn_bottleneck, outs[0], [*outs[1:], smallest], align_corners=self.align_corners
        )
