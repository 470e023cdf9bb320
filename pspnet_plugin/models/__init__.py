"""Backbone and heads, registered in ``mmseg.registry.MODELS``."""

from pspnet_plugin.models.dilated_residual_net import DilatedResidualBlock, DilatedResidualNet
from pspnet_plugin.models.psp_heads import FastPSPHead, WindowPSPHead
from pspnet_plugin.models.uper_head import FastUPerHead

__all__ = [
    'DilatedResidualBlock',
    'DilatedResidualNet',
    'FastPSPHead',
    'FastUPerHead',
    'WindowPSPHead',
]
