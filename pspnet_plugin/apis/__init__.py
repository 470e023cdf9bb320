"""Inference and export for Python users: ``Predictor``, loading of models, drawing."""

from pspnet_plugin.apis.photos import BadImage, ImageTooLarge
from pspnet_plugin.apis.predictor import Prediction, Predictor

__all__ = ['BadImage', 'ImageTooLarge', 'Prediction', 'Predictor']
