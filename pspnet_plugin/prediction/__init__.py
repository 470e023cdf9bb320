"""Photos, pairs and videos through a network, into files."""

from pspnet_plugin.prediction.drawing import colored, overlay
from pspnet_plugin.prediction.networks import TorchNetwork, open_torch_network
from pspnet_plugin.prediction.reading import Picture
from pspnet_plugin.prediction.sources import BadPicture, find_sources
from pspnet_plugin.prediction.stream import label_stream

__all__ = [
    'BadPicture',
    'Picture',
    'TorchNetwork',
    'colored',
    'find_sources',
    'label_stream',
    'open_torch_network',
    'overlay',
]
