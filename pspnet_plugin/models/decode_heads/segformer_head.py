"""SegFormer's head; differs from stock ``SegformerHead`` only in how the fusion is computed.

Shape shorthand in this module: N: batch; M: ``channels``; K: classes; H, W: size of the largest
feature map; h, w: size of another.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers import forward_over_concat, fuse_concat


@MODELS.register_module()
class FastSegformerHead(SegformerHead):
    """SegFormer's head (arXiv 2105.15203, equation 4), a drop-in for stock ``SegformerHead``.

    Arguments, parameters, their names and outputs are those of ``SegformerHead``. The 1x1
    convolution that fuses the levels is applied to each at its own size, and its sums are upsampled
    (see ``layers/pyramid.py``).

    Args:
        interpolate_mode: Upsampling of the levels; any other than ``'bilinear'`` runs as in stock.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, interpolate_mode: str = 'bilinear', **kwargs) -> None:
        super().__init__(interpolate_mode, **kwargs)
        if interpolate_mode == 'bilinear':
            fuse_concat(self.fusion_conv, align_corners=self.align_corners)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits, (N, K, H, W)."""
        if self.interpolate_mode != 'bilinear':
            return super().forward(inputs)
        levels = zip(self.convs, self._transform_inputs(inputs), strict=True)
        x, *others = (conv(level) for conv, level in levels)  # (N, M, H, W), (N, M, h, w)
        fused = forward_over_concat(self.fusion_conv, x, others, align_corners=self.align_corners)
        return self.cls_seg(fused)
