"""Datasets of pairs for the framework; ``pair_backends`` calls the decoder of their labels."""

from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.datasets.pair_backends import read_pair
from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.datasets.transforms import (
    LoadDeepImageFromFile,
    RandomDegradation,
    SubsampleLabels,
)

__all__ = [
    'BadPair', 'CityscapesPairsDataset', 'LoadDeepImageFromFile', 'PairsDataset',
    'RandomDegradation', 'SubsampleLabels', 'read_pair',
]  # fmt: skip
