"""Palettes by name and by file."""

import numpy as np
import pytest

from pspnet_plugin.datasets import LabelCodec
from pspnet_plugin.datasets.palettes import NAMED, known_palettes, read_metainfo


@pytest.mark.parametrize('name', known_palettes())
def test_known_palettes_have_a_colour_for_every_class(name):
    metainfo = read_metainfo(name)
    assert len(metainfo['classes']) == len(metainfo['palette']) > 1
    assert np.array(metainfo['palette']).shape[1] == 3
    if name in NAMED:
        LabelCodec(metainfo['palette'], void_palette=metainfo['void_palette'])
