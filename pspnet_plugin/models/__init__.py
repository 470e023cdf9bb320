"""Backbone and heads, registered in ``mmseg.registry.MODELS``."""

from pspnet_plugin.models.dilated_residual_net import DilatedResidualBlock, DilatedResidualNet
from pspnet_plugin.models.psp_heads import FastPSPHead, WindowPSPHead

__all__ = ['DilatedResidualBlock', 'DilatedResidualNet', 'FastPSPHead', 'WindowPSPHead']
