"""Files that are no usable pair: each is named, and skipped on request."""

import re
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from helpers.pairs import build, coloured, label_map, photo, write_pair
from mmengine.dataset import ConcatDataset, RepeatDataset
from PIL import Image

from pspnet_plugin.datasets.bad_pairs import BadPair, find_bad_pairs
from pspnet_plugin.datasets.pair_backends import read_pair
from pspnet_plugin.engine.hooks.bad_pairs_hook import BadPairsHook
from pspnet_plugin.engine.loops.sampling import SeededDataset

PAIR = np.hstack([photo(64, 64), coloured(label_map(64, 64))])[..., ::-1]  # RGB
NEXT = Image.fromarray(PAIR[::-1].copy())
DEEP = PAIR[..., ::-1].astype(np.uint16) * 257


def save(path: Path, image=PAIR, mode='RGB', **options) -> None:
    Image.fromarray(np.ascontiguousarray(image)).convert(mode).save(path, **options)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block.update({0x0112: orientation, 0x010F: 'a camera'})
    return block


def bomb(path: Path) -> None:
    """Write a PNG of 30,000 x 30,000 pixels in 110 KB."""
    Image.new('1', (30_000, 30_000)).save(path)


# Suffix; the value that the message names; and how the file is made.
BAD = {
    'empty': ('jpg', '0 bytes', lambda path: path.write_bytes(b'')),
    'text': ('png', '9 bytes', lambda path: path.write_text('no image\n')),
    '16 bits': ('png', '16 bits', lambda path: cv2.imwrite(str(path), DEEP)),
    '16 bits grey': ('png', '16 bits', lambda path: cv2.imwrite(str(path), DEEP[..., 0])),
    'CMYK': ('jpg', 'CMYK', lambda path: save(path, mode='CMYK', quality=95)),
    'animated': ('webp', '2 frames', lambda path: save(path, save_all=True, append_images=[NEXT])),
    'turned': ('jpg', 'EXIF.* 6,', lambda path: save(path, exif=exif(6), quality=95)),
    'upside down': ('png', 'EXIF.* 3,', lambda path: save(path, exif=exif(3))),
    'damaged EXIF': ('png', 'EXIF', lambda path: save(path, exif=b'Exif\0\0MM')),
    'bomb': ('png', f'{Image.MAX_IMAGE_PIXELS} pixels.*MAX_IMAGE_PIXELS', bomb),
    'odd width': ('png', '127 x 64', lambda path: save(path, PAIR[:, :-1])),
    'other palette': ('png', 'min_explained', lambda path: save(path, 255 - PAIR)),
    'GIF': ('png', 'GIF', lambda path: save(path, format='GIF')),
}


@pytest.mark.parametrize(('suffix', 'value', 'make'), BAD.values(), ids=BAD)
def test_bad_pair_is_named_and_skipped_on_request(tmp_path, suffix, value, make):
    for i in (1, 2):
        write_pair(tmp_path / 'train' / f'{i}.png', seed=i)
    make(tmp_path / 'train' / f'bad.{suffix}')
    dataset = build(tmp_path)
    assert len(dataset) == 3
    with pytest.raises(BadPair, match=f'bad.{suffix}.*{value}'):
        list(dataset)
    skipping = build(tmp_path, on_bad_pair='skip')
    assert len(skipping) == 2 == len(list(skipping))
    ((path, reason),) = skipping.bad_pairs.reasons.items()
    assert path.endswith(f'bad.{suffix}') and skipping.bad_pairs.count == 3
    assert re.search(f'bad.{suffix}.*{value}', reason)


@pytest.mark.parametrize(
    ('suffix', 'share'),
    [('.jpg', 0.98), ('.jpeg', 0.3), ('.png', 0.7), ('.bmp', 0.98), ('.webp', 0.7)],
)
def test_cut_off_file_is_named(tmp_path, suffix, share):
    path = tmp_path / f'1{suffix}'
    write_pair(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadPair, match=f'1{suffix}'):
        read_pair(str(path))


def test_end_of_a_thumbnail_is_not_that_of_the_jpeg(tmp_path):
    path = tmp_path / '1.jpg'
    write_pair(path)
    content = path.read_bytes()
    thumbnail = b'Exif\0\0' + content[:600] + b'\xff\xd9'
    header = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    whole = content[:2] + header + content[2:]
    path.write_bytes(whole + bytes(9000))  # bytes behind the end do no harm
    assert read_pair(str(path)).shape == (64, 128, 3)
    path.write_bytes(whole[:-500])
    with pytest.raises(BadPair, match=r'1\.jpg'):
        read_pair(str(path))


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', '1'])
def test_other_8_bit_modes_and_upright_exif_are_harmless(mode, tmp_path):
    save(tmp_path / '1.png', mode=mode, exif=exif(1))
    expected = np.array(Image.open(tmp_path / '1.png').convert('RGB'))[..., ::-1]
    np.testing.assert_array_equal(read_pair(str(tmp_path / '1.png')), expected)


def test_limit_of_pixels_is_pillow_s(tmp_path, monkeypatch):
    save(tmp_path / '1.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(BadPair, match='1000'):
        read_pair(str(tmp_path / '1.png'))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    assert read_pair(str(tmp_path / '1.png')).shape == (64, 128, 3)


def test_pair_lost_before_it_is_evaluated_is_an_error_and_so_is_a_split_of_bad_pairs(pairs_root):
    """Skipped silently, they would change the score."""
    dataset = build(pairs_root, 'val', on_bad_pair='skip', test_mode=True)
    (pairs_root / 'val/2.png').unlink()
    with pytest.raises(FileNotFoundError, match='2.png'):
        list(dataset)
    (pairs_root / 'val/1.png').write_bytes(b'')
    with pytest.raises(ValueError, match='1.*1.png'):
        build(pairs_root, 'val', on_bad_pair='skip')


def test_datasets_are_found_within_wrappers(pairs_root):
    one, two = (build(pairs_root, split, on_bad_pair='skip') for split in ('train', 'val'))
    both = SeededDataset(ConcatDataset([one, two, build(pairs_root)]))
    assert [dataset for dataset, _ in find_bad_pairs(both)] == [one, two]
    repeated = SeededDataset(RepeatDataset(one, 2))
    assert [dataset for dataset, _ in find_bad_pairs(repeated)] == [one]


def test_pairs_that_a_test_skipped_are_counted_beside_its_score(pairs_root):
    (pairs_root / 'val/2.png').write_bytes(b'')
    runner, metrics = Mock(), dict(mIoU=50.0)
    runner.test_dataloader.dataset = build(pairs_root, 'val', on_bad_pair='skip')
    BadPairsHook().after_test_epoch(runner, metrics)
    assert metrics['skipped_pairs'] == 1
    assert '1 of 2' in runner.logger.warning.call_args.args[0]


def test_invisible_pixels_of_a_pair_are_ignored_and_partly_visible_ones_refused(tmp_path):
    labels = label_map(64, 64)
    pair = np.dstack([PAIR, np.full(PAIR.shape[:2], 255, np.uint8)])
    pair[:20, 64:, 3] = 0  # erased, but of the colour of a class
    (tmp_path / 'train').mkdir()
    save(tmp_path / 'train/1.png', pair, 'RGBA')
    save(tmp_path / 'train/2.webp', pair, 'RGBA', lossless=True, exact=True)
    dataset = build(tmp_path)
    expected = labels.copy()
    expected[:20] = 255
    for i in range(2):
        record = dataset[i]
        assert (record['data_samples'].gt_sem_seg.data.numpy() == expected).all()
        assert (record['inputs'].numpy() == PAIR[:, :64, ::-1].transpose(2, 0, 1)).all()
    pair[0, 70, 3] = 128
    save(tmp_path / 'train/1.png', pair, 'RGBA')
    with pytest.raises(BadPair, match=r'1\.png.*x=70, y=0'):
        build(tmp_path)[0]


def test_erased_colours_say_nothing_about_the_palette(tmp_path):
    pair = np.dstack([PAIR, np.full(PAIR.shape[:2], 255, np.uint8)])
    pair[:60, 64:] = 1, 2, 3, 0  # most of the labels
    (tmp_path / 'train').mkdir()
    save(tmp_path / 'train/1.png', pair, 'RGBA')
    labels = build(tmp_path)[0]['data_samples'].gt_sem_seg.data.numpy()[0]
    assert (labels[:60] == 255).all() and (labels[60:] == label_map(64, 64)[60:]).all()
