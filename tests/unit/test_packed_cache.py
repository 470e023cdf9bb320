"""Label maps are decoded once, and the cache of them stays within its bounds."""

import os

import numpy as np
from helpers.pairs import CITYSCAPES, write_pair
from mmengine import fileio

from pspnet_plugin.datasets.packed_cache import PackedCache
from pspnet_plugin.datasets.pair_backends import label_uri
from pspnet_plugin.labels.decoder import LabelDecoder


def test_contents_come_back_and_the_oldest_go_first():
    cache = PackedCache(capacity=4000)
    noise = [np.random.default_rng(i).bytes(15) for i in range(200)]
    for i, content in enumerate(noise):
        cache.put(i, content)
        assert cache.get(0) == noise[0], 'what is used stays'
        assert cache.size <= 4000
    assert cache.get(199) == noise[199]
    assert cache.get(1) is None
    before = cache.size
    cache.put(199, noise[198])
    assert cache.get(199) == noise[198] and abs(cache.size - before) < 5
    cache.put('large', np.random.default_rng(0).bytes(100))
    assert cache.get('large') is None


def test_a_pair_is_decoded_again_only_when_its_file_changes(tmp_path, monkeypatch):
    path = tmp_path / '1.png'
    write_pair(path, seed=1)
    decoder = LabelDecoder(CITYSCAPES['palette'])
    uri = label_uri(str(path), photo_side='left', decoder=decoder)
    decoded, decode = [], LabelDecoder.decode
    monkeypatch.setattr(
        LabelDecoder, 'decode', lambda self, colors: decoded.append(1) or decode(self, colors)
    )
    first = fileio.get(uri)
    assert [fileio.get(uri) for _ in range(3)] == [first] * 3
    assert len(decoded) == 1
    write_pair(path, seed=2)
    os.utime(path, ns=(1, 1))
    second = fileio.get(uri)
    assert second != first and len(decoded) == 2
    other = label_uri(
        str(path), photo_side='left', decoder=LabelDecoder(CITYSCAPES['palette'], rule='nearest')
    )
    assert fileio.get(other) == second, 'a lossless pair reads alike by both rules'
    assert len(decoded) == 3, 'but each rule decodes for itself'
