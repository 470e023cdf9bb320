"""A pair as two virtual files."""

import io
import multiprocessing
import os
import threading
from inspect import signature

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, label_map, photo, write_pair
from mmengine import fileio
from PIL import Image

from pspnet_plugin.datasets import pair_backends as pair_files
from pspnet_plugin.datasets.pair_backends import (
    label_uri,
    parse_label_uri,
    parse_photo_uri,
    photo_uri,
    read_pair,
)
from pspnet_plugin.labels import LabelDecoder

CODEC = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])


def photo_of(path, side='left'):
    return cv2.imdecode(
        np.frombuffer(fileio.get(photo_uri(str(path), photo_side=side)), np.uint8), cv2.IMREAD_COLOR
    )


def labels_of(path, side='left', decoder=CODEC):
    content = fileio.get(label_uri(str(path), photo_side=side, decoder=decoder))
    return np.array(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.PNG'])
@pytest.mark.parametrize('size', [(64, 64), (37, 53), (1, 1)], ids=str)
def test_halves_are_exact(tmp_path, side, suffix, size):
    truth = write_pair(tmp_path / f'1{suffix}', height=size[0], width=size[1], photo_side=side)
    np.testing.assert_array_equal(photo_of(tmp_path / f'1{suffix}', side), truth['photo'])
    np.testing.assert_array_equal(labels_of(tmp_path / f'1{suffix}', side), truth['labels'])


@pytest.mark.parametrize('suffix', ['.jpg', '.webp'])
def test_lossy_photo_is_what_opencv_decodes(tmp_path, suffix):
    write_pair(tmp_path / f'1{suffix}')
    expected = cv2.imread(str(tmp_path / f'1{suffix}'))[:, :64]
    np.testing.assert_array_equal(photo_of(tmp_path / f'1{suffix}'), expected)


def test_pillow_reads_both(tmp_path):
    truth = write_pair(tmp_path / '1.png', height=33, width=35)
    content = fileio.get(photo_uri(str(tmp_path / '1.png'), photo_side='left'))
    np.testing.assert_array_equal(
        np.array(Image.open(io.BytesIO(content)))[..., ::-1], truth['photo']
    )


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
    assert parse_photo_uri(photo_uri(path, photo_side='left')) == (path, 'left')


@pytest.mark.parametrize('uri', ['pair-label://x', '/data/1.jpg', 'pair-label://photo=up/1.jpg'])
def test_other_text_is_no_uri(uri):
    with pytest.raises(ValueError, match='expected|lacks'):
        parse_label_uri(uri)


def test_inner_files_may_lie_on_other_backends(tmp_path, monkeypatch):
    """An inner scheme and its arguments reach mmengine's own backend for it."""
    truth = write_pair(tmp_path / '1.png')
    seen = []

    class Bucket(fileio.BaseStorageBackend):
        def __init__(self, region):
            seen.append(region)

        def get(self, filepath):
            return (tmp_path / filepath.removeprefix('bucket://')).read_bytes()

        def get_text(self, filepath):
            raise AssertionError

    monkeypatch.setitem(fileio.backends.prefix_to_backends, 'bucket', Bucket)
    uri = photo_uri('bucket://1.png', photo_side='left')
    content = fileio.get(uri, backend_args=dict(region='north'))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(picture, truth['photo'])
    assert seen == ['north']


def test_photo_and_labels_cost_one_read(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(pair_files, 'read_pair', lambda *a: reads.append(a) or read_pair(*a))
    for name in ('1.png', '2.png'):
        write_pair(tmp_path / name)
        photo_of(tmp_path / name)
        labels_of(tmp_path / name)
    assert len(reads) == 2


@pytest.mark.parametrize('first', [photo_of, labels_of])
@pytest.mark.parametrize('second', [photo_of, labels_of])
def test_a_changed_file_is_read_anew(tmp_path, first, second):
    write_pair(tmp_path / '1.png', seed=1)
    first(tmp_path / '1.png')
    truth = write_pair(tmp_path / '1.png', seed=2, height=72)
    expected = truth['photo'] if second is photo_of else truth['labels']
    np.testing.assert_array_equal(second(tmp_path / '1.png'), expected)


def test_threads_do_not_share_the_last_pair(tmp_path):
    truths = {n: write_pair(tmp_path / f'{n}.png', seed=n) for n in range(8)}
    wrong = []

    def work(n):
        for _ in range(20):
            same = np.array_equal(photo_of(tmp_path / f'{n}.png'), truths[n]['photo'])
            if not (same and np.array_equal(labels_of(tmp_path / f'{n}.png'), truths[n]['labels'])):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in truths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_a_uri_means_the_same_in_another_process(tmp_path, method):
    truth = write_pair(tmp_path / '1.png')
    with multiprocessing.get_context(method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(labels_of, (tmp_path / '1.png',)), truth['labels'])


class TestBadFiles:
    """Each is named, with what was expected."""

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'1\.jpg'):
            photo_of(tmp_path / '1.jpg')

    @pytest.mark.parametrize('content', [b'', b'no picture at all', b'\xff\xd8\xff'], ids=repr)
    def test_no_picture(self, tmp_path, content):
        (tmp_path / '1.jpg').write_bytes(content)
        with pytest.raises(ValueError, match=r'1\.jpg: no picture, or cut off'):
            photo_of(tmp_path / '1.jpg')

    @pytest.mark.parametrize('suffix', ['.jpg', '.jpeg', '.png', '.bmp', '.webp'])
    @pytest.mark.parametrize('share', [0.3, 0.7, 0.98])
    def test_cut_off(self, tmp_path, suffix, share):
        path = tmp_path / f'1{suffix}'
        write_pair(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match='no picture, or cut off'):
            photo_of(path)

    def test_cut_off_jpeg_with_a_whole_thumbnail(self, tmp_path):
        """The end marker of the thumbnail in the header is not that of the picture."""
        write_pair(tmp_path / '1.jpg')
        content = (tmp_path / '1.jpg').read_bytes()
        thumbnail = b'Exif\0\0' + content[:600] + b'\xff\xd9'
        header = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
        whole = content[:2] + header + content[2:]
        (tmp_path / '1.jpg').write_bytes(whole)
        assert photo_of(tmp_path / '1.jpg').shape == (64, 64, 3)
        (tmp_path / '1.jpg').write_bytes(whole[:-500])
        with pytest.raises(ValueError, match='no picture, or cut off'):
            photo_of(tmp_path / '1.jpg')

    def test_bytes_behind_a_jpeg_do_no_harm(self, tmp_path):
        write_pair(tmp_path / '1.jpg')
        with open(tmp_path / '1.jpg', 'ab') as file:
            file.write(bytes(9000))
        assert photo_of(tmp_path / '1.jpg').shape == (64, 64, 3)

    def test_odd_width(self, tmp_path):
        cv2.imwrite(str(tmp_path / '1.png'), photo(8, 9))
        with pytest.raises(ValueError, match=r'1\.png: 9 x 8 pixels .*odd width'):
            labels_of(tmp_path / '1.png')

    @pytest.mark.parametrize(('given', 'other'), [('left', 'right'), ('right', 'left')])
    def test_halves_swapped(self, tmp_path, given, other):
        write_pair(tmp_path / '1.png', photo_side=other)
        with pytest.raises(
            ValueError, match=rf"1\.png: the halves look swapped.*photo_side='{other}'"
        ):
            labels_of(tmp_path / '1.png', side=given)

    def test_two_photos(self, tmp_path):
        cv2.imwrite(str(tmp_path / '1.png'), photo(64, 128))
        with pytest.raises(
            ValueError, match=r'1\.png: the label half is no picture in this palette'
        ):
            labels_of(tmp_path / '1.png')

    def test_min_explained_takes_it_anyway(self, tmp_path):
        cv2.imwrite(str(tmp_path / '1.png'), photo(64, 128))
        decoder = LabelDecoder(CITYSCAPES['palette'], min_explained=0)
        assert labels_of(tmp_path / '1.png', decoder=decoder).shape == (64, 64)

    def test_text_is_refused(self, tmp_path):
        write_pair(tmp_path / '1.png', labels=label_map(8, 8))
        with pytest.raises(ValueError, match='cannot be read as text'):
            fileio.get_text(photo_uri(str(tmp_path / '1.png'), photo_side='left'))
