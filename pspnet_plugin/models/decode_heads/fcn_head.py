"""FCN's head; differs from stock ``FCNHead`` only over several feature maps, as under HRNet.

Shape shorthand in this module: N: batch; M: ``channels``; H, W: size of the first feature map.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers import Parts, fuse_concat


@MODELS.register_module()
class FastFCNHead(FCNHead):
    """FCN's head (arXiv 1411.4038), a drop-in for stock ``FCNHead``.

    Arguments, parameters, their names and outputs are those of ``FCNHead``. With
    ``input_transform='resize_concat'``, its first convolution, and the last with ``concat_input``,
    are computed without the resized feature maps (see ``layers/pyramid.py``). Otherwise, and with
    a dilation or an even kernel, it runs as in stock.

    Args:
        **kwargs: Arguments of ``FCNHead``.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.takes_parts = self.input_transform == 'resize_concat' and self.num_convs > 0
        if self.takes_parts:
            modules = [self.convs[0], self.conv_cat] if self.concat_input else [self.convs[0]]
            fused = (fuse_concat(module, align_corners=self.align_corners) for module in modules)
            self.takes_parts = all(fused)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the feature map that is classified, (N, M, H, W)."""
        if not self.takes_parts:
            return super()._forward_feature(inputs)
        x, *others = (inputs[i] for i in self.in_index)
        feats = self.convs(Parts(x, others))  # (N, M, H, W)
        return self.conv_cat(Parts(x, [*others, feats])) if self.concat_input else feats
