"""Backbone, heads, losses and preprocessor, registered in ``mmseg.registry.MODELS``."""

from pspnet_plugin.models.backbones.dilated_residual_net import (
    DilatedResidualBlock,
    DilatedResidualNet,
)
from pspnet_plugin.models.decode_heads.color_psp_head import ColorPSPHead
from pspnet_plugin.models.decode_heads.psp_head import FastPSPHead
from pspnet_plugin.models.decode_heads.uper_head import FastUPerHead
from pspnet_plugin.models.decode_heads.window_psp_head import WindowPSPHead
from pspnet_plugin.models.init import KerasInit
from pspnet_plugin.models.losses import ColorLoss
from pspnet_plugin.models.preprocessor import MinMaxDataPreProcessor

__all__ = [
    'ColorLoss',
    'ColorPSPHead',
    'DilatedResidualBlock',
    'DilatedResidualNet',
    'FastPSPHead',
    'FastUPerHead',
    'KerasInit',
    'MinMaxDataPreProcessor',
    'WindowPSPHead',
]
