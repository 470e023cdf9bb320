"""Pairs as datasets of the framework."""

from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.datasets.transforms import SubsampleLabels

__all__ = ['CityscapesPairsDataset', 'PairsDataset', 'SubsampleLabels']
