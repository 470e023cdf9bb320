"""Decode colours into class indices, by ``decoder``; ``palettes`` holds those of known sets."""

from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import IGNORE_INDEX, known_palettes, read_metainfo

__all__ = ['IGNORE_INDEX', 'LabelDecoder', 'known_palettes', 'read_metainfo']
