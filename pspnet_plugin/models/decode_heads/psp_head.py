"""PSPNet's head; differs from stock ``PSPHead`` only in how the bottleneck is computed.

Shape shorthand in this module: N: batch; M: ``channels``; H, W: size of x.
"""

from collections.abc import Sequence

from mmseg.models.decode_heads import PSPHead
from mmseg.registry import MODELS
from torch import Tensor

from pspnet_plugin.models.layers import forward_over_concat, fuse_concat, pyramid_levels


@MODELS.register_module()
class FastPSPHead(PSPHead):
    """PSPNet's head (arXiv 1612.01105, section 3.2), a drop-in for stock ``PSPHead``.

    Arguments, parameters, their names and outputs are those of ``PSPHead``, so checkpoints load
    both ways. Neither the upsampled levels nor their concat are computed (see
    ``layers/pyramid.py``), for about half the multiply-adds. It also trains with one image per
    batch, where the batch norm of a single bin uses its running statistics.

    Args:
        pool_scales: Bins of each level: (h, w), or one number for both.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs) -> None:
        super().__init__(pool_scales, **kwargs)
        fuse_concat(self.bottleneck, align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the feature map that is classified, (N, M, H, W)."""
        if self.input_transform == 'resize_concat':
            x, *others = (inputs[i] for i in self.in_index)
        else:
            x, others = self._transform_inputs(inputs), []
        align_corners = self.align_corners
        levels = pyramid_levels(self.psp_modules, x, others, align_corners=align_corners)
        return forward_over_concat(
            self.bottleneck, x, [*others, *levels], align_corners=align_corners
        )
