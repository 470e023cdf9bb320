"""A pair as two virtual files: what they hold, how often they are read, and their cache."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from inspect import signature

import cv2
import numpy as np
import pytest
from cachetools import LRUCache
from helpers.pairs import CITYSCAPES, photo, write_pair
from mmengine import fileio
from PIL import Image

from pspnet_plugin.datasets import pair_backends
from pspnet_plugin.datasets.pair_backends import label_uri, parse_label_uri, photo_uri, read_pair
from pspnet_plugin.labels import LabelDecoder

DECODER = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])


def photo_of(path, side='left', **options):
    content = fileio.get(photo_uri(str(path), photo_side=side), **options)
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def labels_of(path, side='left', decoder=DECODER):
    content = fileio.get(label_uri(str(path), photo_side=side, decoder=decoder))
    return np.array(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    ('name', 'size', 'side'),
    [('1.png', (64, 64), 'left'), ('1.bmp', (37, 53), 'right'), ('1.PNG', (1, 1), 'left'),
     ('1.jpg', (64, 64), 'left'), ('1.webp', (64, 64), 'left')],
    ids=str,
)  # fmt: skip
def test_halves_are_exact(tmp_path, name, size, side):
    path = tmp_path / name
    truth = write_pair(path, height=size[0], width=size[1], photo_side=side)
    if path.suffix in ('.jpg', '.webp'):  # lossy
        truth['photo'] = cv2.imread(str(path))[:, : size[1]]
    else:
        np.testing.assert_array_equal(labels_of(path, side), truth['labels'])
    np.testing.assert_array_equal(photo_of(path, side), truth['photo'])
    by_pillow = Image.open(io.BytesIO(fileio.get(photo_uri(str(path), photo_side=side))))
    np.testing.assert_array_equal(np.array(by_pillow)[..., ::-1], truth['photo'])


@pytest.mark.parametrize(
    'path',
    ['/a/b/1.jpg', 'a/1.jpg', '/ä ö/50%3A/%25.jpg', 's3://bucket/folder/a b.jpg', 'x.png'],
)
def test_uris_carry_any_path_and_keep_its_name(path):
    decoder = LabelDecoder(
        [(1, 2, 3)], void_palette=[(4, 5, 6)], rule='nearest', max_distance=None,
        min_confidence=0.5, min_explained=0.25,
    )  # fmt: skip
    uri = label_uri(path, photo_side='right', decoder=decoder)
    assert uri.count('://') == 1
    assert os.path.basename(uri) == os.path.basename(path)
    parsed_path, side, parsed = parse_label_uri(uri)
    assert (parsed_path, side) == (path, 'right')
    for name in signature(LabelDecoder).parameters:
        assert getattr(parsed, name) == getattr(decoder, name)
    photo = photo_uri(path, photo_side='left')
    assert pair_backends.parse_photo_uri(photo) == (path, 'left')
    assert [pair_backends.pair_path(name) for name in (uri, photo, path)] == [path] * 3


@pytest.mark.parametrize(
    'uri',
    ['pair-label://x', '/data/1.jpg', 'pair-label://photo=up/1.jpg', 'pair-label://photo=left/1'],
)
def test_other_text_is_no_uri(uri):
    with pytest.raises(ValueError):
        parse_label_uri(uri)


def test_inner_files_may_lie_on_other_backends(tmp_path, monkeypatch):
    """An inner scheme and its arguments reach mmengine's own backend for it."""
    truth = write_pair(tmp_path / '1.png')
    regions = []

    class Bucket(fileio.BaseStorageBackend):
        def __init__(self, region):
            regions.append(region)

        def get(self, filepath):
            return (tmp_path / filepath.removeprefix('bucket://')).read_bytes()

        def get_text(self, filepath):
            raise AssertionError

    monkeypatch.setitem(fileio.backends.prefix_to_backends, 'bucket', Bucket)
    image = photo_of('bucket://1.png', backend_args=dict(region='north'))
    np.testing.assert_array_equal(image, truth['photo'])
    assert regions == ['north']


def test_photo_and_labels_cost_one_read(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(pair_backends, 'read_pair', lambda *a: reads.append(a) or read_pair(*a))
    for name in ('1.png', '2.png'):
        write_pair(tmp_path / name)
        photo_of(tmp_path / name)
        labels_of(tmp_path / name)
    assert len(reads) == 2


@pytest.mark.parametrize('first', [photo_of, labels_of])
@pytest.mark.parametrize('second', [photo_of, labels_of])
def test_changed_file_is_read_again(tmp_path, first, second):
    write_pair(tmp_path / '1.png', seed=1)
    first(tmp_path / '1.png')
    truth = write_pair(tmp_path / '1.png', seed=2, height=72)
    expected = truth['photo'] if second is photo_of else truth['labels']
    np.testing.assert_array_equal(second(tmp_path / '1.png'), expected)


def test_threads_do_not_share_the_last_pair(tmp_path):
    truths = {tmp_path / f'{n}.png': write_pair(tmp_path / f'{n}.png', seed=n) for n in range(8)}

    def right(path):
        truth = truths[path]
        return all(
            np.array_equal(photo_of(path), truth['photo'])
            and np.array_equal(labels_of(path), truth['labels'])
            for _ in range(20)
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(right, truths)) == [True] * 8


@pytest.fixture
def decodings(monkeypatch):
    """Images that are decoded, which grows."""
    images, decode = [], LabelDecoder.decode
    monkeypatch.setattr(LabelDecoder, 'decode', lambda *a: images.append(a) or decode(*a))
    return images


def test_labels_are_decoded_once_for_each_rule_and_state_of_the_file(tmp_path, decodings):
    path = tmp_path / '1.png'
    write_pair(path, seed=1)
    uri = label_uri(str(path), photo_side='left', decoder=DECODER)
    first = fileio.get(uri)
    assert [fileio.get(uri) for _ in range(3)] == [first] * 3
    assert len(decodings) == 1
    write_pair(path, seed=2)
    os.utime(path, ns=(1, 1))
    second = fileio.get(uri)
    assert second != first and len(decodings) == 2
    nearest = LabelDecoder(CITYSCAPES['palette'], rule='nearest')
    assert fileio.get(label_uri(str(path), photo_side='left', decoder=nearest)) == second
    assert len(decodings) == 3


def test_cache_forgets_the_least_recent_and_keeps_nothing_large(tmp_path, decodings, monkeypatch):
    cache = LRUCache(maxsize=3000, getsizeof=len)
    monkeypatch.setattr(pair_backends, 'label_cache', cache)
    for n in range(200):  # packed, 20 bytes each
        write_pair(tmp_path / f'{n}.png', seed=n, height=8, width=8)
        labels_of(tmp_path / f'{n}.png')
        labels_of(tmp_path / '0.png')
        assert cache.currsize <= 3000
    assert 100 < len(cache) < 200 == len(decodings)
    labels_of(tmp_path / '1.png')
    assert len(decodings) == 201
    write_pair(tmp_path / 'large.png', height=200, width=200)
    for _ in range(2):
        labels_of(tmp_path / 'large.png')
    assert len(decodings) == 203


@pytest.mark.parametrize(('given', 'other'), [('left', 'right'), ('right', 'left')])
def test_swapped_halves_are_noticed(tmp_path, given, other):
    with pytest.raises(FileNotFoundError, match=r'1\.png'):
        photo_of(tmp_path / '1.png')
    write_pair(tmp_path / '1.png', photo_side=other)
    with pytest.raises(ValueError, match=rf"1\.png.*photo_side='{other}'"):
        labels_of(tmp_path / '1.png', side=given)


def test_min_explained_0_accepts_two_photos_and_nothing_accepts_text(tmp_path):
    cv2.imwrite(str(tmp_path / '1.png'), photo(64, 128))
    with pytest.raises(ValueError, match=r'1\.png.*min_explained=0'):
        labels_of(tmp_path / '1.png')
    decoder = LabelDecoder(CITYSCAPES['palette'], min_explained=0)
    assert labels_of(tmp_path / '1.png', decoder=decoder).shape == (64, 64)
    with pytest.raises(ValueError, match=r'1\.png'):
        fileio.get_text(photo_uri(str(tmp_path / '1.png'), photo_side='left'))
