"""Photos, pairs and videos through a network, into files."""

from pspnet_plugin.apis.drawing import colored, overlay
from pspnet_plugin.apis.networks import TorchNetwork, open_torch_network
from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.apis.sources import BadImage, find_sources
from pspnet_plugin.apis.stream import label_stream

__all__ = [
    'BadImage',
    'InputImage',
    'TorchNetwork',
    'colored',
    'find_sources',
    'label_stream',
    'open_torch_network',
    'overlay',
]
