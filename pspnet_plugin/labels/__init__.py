"""Colours to class indices: palettes and the label decoder."""

from pspnet_plugin.labels.decoder import LabelDecoder

__all__ = ['LabelDecoder']
