"""Layers that decode heads share: pooling, upsampling and convolution over upsampled levels.

``fused_conv`` is what a head calls; ``pyramid`` derives the mathematics.
"""

from pspnet_plugin.models.layers.fused_conv import (
    ConcatConv2d,
    Parts,
    forward_level,
    forward_over_concat,
    fuse_concat,
    pyramid_levels,
)
from pspnet_plugin.models.layers.pyramid import conv_over_concat, pool, upsample

__all__ = [
    'ConcatConv2d', 'Parts', 'conv_over_concat', 'forward_level', 'forward_over_concat',
    'fuse_concat', 'pool', 'pyramid_levels', 'upsample',
]  # fmt: skip
