"""Pairs as datasets of the framework; the stations of the data are the modules of this folder."""

from pspnet_plugin.datasets.label_codec import LabelCodec
from pspnet_plugin.datasets.pairs import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.datasets.subsample_labels import SubsampleLabels

__all__ = ['CityscapesPairsDataset', 'LabelCodec', 'PairsDataset', 'SubsampleLabels']
