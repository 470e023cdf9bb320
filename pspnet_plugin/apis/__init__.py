"""Inference and export for Python users, and for ``tools``.

``photos`` reads, ``predictor`` labels by ``torch_network`` or ``onnx_network``, ``drawing`` draws.
"""

from pspnet_plugin.apis.photos import BadImage, ImageTooLarge
from pspnet_plugin.apis.predictor import Prediction, Predictor

__all__ = ['BadImage', 'ImageTooLarge', 'Prediction', 'Predictor']
