"""A convolution module that takes the parts of a concat instead of the concat.

Shape shorthand in this module: as in ``pyramid.py``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pspnet_plugin.models.layers.pyramid import Size, conv_over_concat


class Parts(NamedTuple):
    """A map (N, C, H, W) and smaller ones (N, M, h, w), not concatenated yet.

    ``spans`` is that of ``conv_over_concat``.
    """

    x: Tensor
    levels: Sequence[Tensor]
    spans: Sequence[Size] | None = None


class ConcatConv2d(nn.Conv2d):
    """``nn.Conv2d`` that also takes ``Parts``, and gives what it gives for their concat.

    In the place of the convolution of a ``ConvModule``, norm, activation, hooks and the fusing of
    convolution and norm stay as they are.
    """

    align_corners: bool

    @classmethod
    def like(cls, conv: nn.Conv2d, *, align_corners: bool) -> 'ConcatConv2d':
        """One with the very parameters of ``conv``, whose padding keeps the size of the map."""
        with torch.device('meta'):
            own = cls(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,
                padding=conv.padding,
                bias=conv.bias is not None,
            )
        own.weight, own.bias = conv.weight, conv.bias
        own.align_corners = align_corners
        return own

    def _conv_forward(self, input: Tensor | Parts, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Between nn.Conv2d.forward and the weight; mmcv comes here with a weight of its own making.
        if isinstance(input, Tensor):
            return super()._conv_forward(input, weight, bias)
        return conv_over_concat(
            input.x, input.levels, weight, bias,
            align_corners=self.align_corners, spans=input.spans,
        )  # fmt: skip
