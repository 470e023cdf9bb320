"""The paper's head, by the mathematics of ``pyramid.py``.

Shape shorthand in this module: N: batch; H, W: height and width of the map.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import PSPHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers.head_parts import accept_parts, over_concat, pyramid_levels


@MODELS.register_module()
class FastPSPHead(PSPHead):
    """The paper's head (arXiv 1612.01105, section 3.2), a drop-in for stock ``PSPHead``.

    Arguments, parameters, their names and the outputs are those of ``PSPHead``, so checkpoints go
    both ways. It differs in how it computes, which ``pyramid.py`` derives: neither the upsampled
    maps nor their concat are made, for about half the multiply-adds. And it trains with one picture
    a batch, where the batch norm of a single bin takes its running statistics.

    Args:
        pool_scales: Bins of each level: (h, w), or one number for both.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs) -> None:
        super().__init__(pool_scales, **kwargs)
        accept_parts(self.bottleneck, align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The maps that are classified, (N, channels, H, W)."""
        if self.input_transform == 'resize_concat':
            x, *smaller = (inputs[i] for i in self.in_index)
        else:
            x, smaller = self._transform_inputs(inputs), []
        corners = self.align_corners
        levels = pyramid_levels(self.psp_modules, x, smaller, align_corners=corners)
        return over_concat(self.bottleneck, x, [*smaller, *levels], align_corners=corners)
