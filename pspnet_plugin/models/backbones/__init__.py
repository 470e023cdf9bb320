"""Backbones.

To add one, register its class in ``mmseg.registry.MODELS`` in a module here, and import it below.
"""

from pspnet_plugin.models.backbones.dilated_residual_net import (
    DilatedResidualBlock,
    DilatedResidualNet,
)
from pspnet_plugin.models.backbones.efficientnet_lite import EfficientNetLite

__all__ = ['DilatedResidualBlock', 'DilatedResidualNet', 'EfficientNetLite']
