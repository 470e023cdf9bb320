"""Backbone, heads, losses and preprocessor, registered in ``mmseg.registry.MODELS``."""

from pspnet_plugin.models.color_loss import ColorLoss
from pspnet_plugin.models.color_psp_head import ColorPSPHead
from pspnet_plugin.models.dilated_residual_net import DilatedResidualBlock, DilatedResidualNet
from pspnet_plugin.models.keras_init import KerasInit
from pspnet_plugin.models.min_max import MinMaxDataPreProcessor
from pspnet_plugin.models.psp_head import FastPSPHead
from pspnet_plugin.models.uper_head import FastUPerHead
from pspnet_plugin.models.window_psp_head import WindowPSPHead

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
