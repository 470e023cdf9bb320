"""Backbones, decode heads, losses and preprocessor, registered in ``mmseg.registry.MODELS``."""

from pspnet_plugin.models.backbones import (
    DilatedResidualBlock,
    DilatedResidualNet,
    EfficientNetLite,
)
from pspnet_plugin.models.decode_heads import (
    ColorPSPHead,
    FastFCNHead,
    FastLightHamHead,
    FastPSPHead,
    FastSegformerHead,
    FastUPerHead,
    WindowPSPHead,
)
from pspnet_plugin.models.init import KerasInit
from pspnet_plugin.models.losses import ColorLoss
from pspnet_plugin.models.preprocessor import MinMaxDataPreProcessor

__all__ = [
    'ColorLoss', 'ColorPSPHead', 'DilatedResidualBlock', 'DilatedResidualNet', 'EfficientNetLite',
    'FastFCNHead', 'FastLightHamHead', 'FastPSPHead', 'FastSegformerHead', 'FastUPerHead',
    'KerasInit', 'MinMaxDataPreProcessor', 'WindowPSPHead',
]  # fmt: skip
