"""SegNeXt's head; differs from stock ``LightHamHead`` only in how the squeeze is computed.

Shape shorthand in this module: N: batch; C: ``ham_channels``; K: classes; H, W: size of the largest
feature map.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import LightHamHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers import forward_over_concat, fuse_concat


@MODELS.register_module()
class FastLightHamHead(LightHamHead):
    """SegNeXt's head (arXiv 2209.08575, figure 3), a drop-in for stock ``LightHamHead``.

    Arguments, parameters, their names and outputs are those of ``LightHamHead``. The 1x1
    convolution that squeezes the feature maps is applied to each at its own size, and its sums are
    upsampled (see ``layers/pyramid.py``).

    Args:
        **kwargs: Arguments of ``LightHamHead``.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        fuse_concat(self.squeeze, align_corners=self.align_corners)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits, (N, K, H, W)."""
        x, *others = self._transform_inputs(inputs)
        x = forward_over_concat(self.squeeze, x, others, align_corners=self.align_corners)
        return self.cls_seg(self.align(self.hamburger(x)))  # of (N, C, H, W)
