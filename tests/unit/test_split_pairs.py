"""Pairs split into photos and index maps: the same arrays, and only what changed again."""

import json
import os

import cv2
import numpy as np
import pytest
from helpers.converters import names, split
from helpers.pairs import LOAD, build, coloured, label_map, photo, write_pair
from mmseg.datasets import CityscapesDataset


def stock(root, name) -> CityscapesDataset:
    return CityscapesDataset(
        data_root=str(root),
        data_prefix=dict(img_path=f'img_dir/{name}', seg_map_path=f'ann_dir/{name}'),
        img_suffix='.png', seg_map_suffix='.png', pipeline=LOAD,
    )  # fmt: skip


def assert_same_records(pairs, out, name, **kwargs) -> int:
    ours, theirs = build(pairs, name, order='name', **kwargs), stock(out, name)
    assert len(ours) == len(theirs)
    for i in range(len(ours)):
        a, b = ours[i], theirs[i]
        path_a, path_b = (record['data_samples'].img_path for record in (a, b))
        assert os.path.splitext(os.path.basename(path_a))[0] == os.path.basename(path_b)[:-4]
        assert (a['inputs'] == b['inputs']).all()
        labels_a, labels_b = (record['data_samples'].gt_sem_seg.data for record in (a, b))
        assert labels_a.dtype == labels_b.dtype and (labels_a == labels_b).all()
        assert labels_a.unique().numel() > 3
    return len(ours)


def test_stock_dataset_reads_the_arrays_of_the_pairs(demo_root, split_root):
    assert assert_same_records(demo_root, split_root, 'train') == 8
    assert assert_same_records(demo_root, split_root, 'val') == 3


@pytest.mark.parametrize(
    ('side', 'decode'),
    [('left', dict(rule='nearest', max_distance=3)), ('right', dict(min_confidence=0.999))],
)
def test_options_mean_what_they_mean_to_the_dataset(tmp_path, side, decode):
    suffixes = ('.jpg', '.PNG', '.jpeg', '.bmp', '.webp')
    for i in range(11):  # 10 comes before 2 by name
        write_pair(tmp_path / 'pairs' / 'train' / f'{i}{suffixes[i % 5]}', seed=i, photo_side=side)
    write_pair(tmp_path / 'pairs' / 'train' / 'sub' / '1.jpg', seed=20, photo_side=side)
    options = [f'--{key.replace("_", "-")}={value}'.lower() for key, value in decode.items()]
    out = tmp_path / 'out'
    assert split(tmp_path / 'pairs', out, '--photo-side', side, *options) == 0
    found = dict(photo_side=side, decode=decode)
    assert assert_same_records(tmp_path / 'pairs', out, 'train', **found) == 12
    labels = [
        np.stack([record['data_samples'].gt_sem_seg.data for record in dataset])
        for dataset in (build(tmp_path / 'pairs', photo_side=side, decode=d) for d in (decode, {}))
    ]
    assert (labels[0] != labels[1]).any()


def test_labels_are_indices_of_a_palette_of_ones_own_that_metainfo_names(tmp_path):
    mine = dict(classes=['a', 'b'], palette=[[0, 0, 0], [255, 255, 255]])
    (tmp_path / 'mine.json').write_text(json.dumps(mine))
    labels = label_map(16, 16, classes=2)
    pair = np.hstack([photo(16, 16), coloured(labels, mine['palette'])])
    (tmp_path / 'pairs' / 'all').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'pairs' / 'all' / '1.png'), pair)
    out = tmp_path / 'out'
    assert split(tmp_path / 'pairs', out, '--palette', str(tmp_path / 'mine.json')) == 0
    found = cv2.imread(str(out / 'ann_dir/all/1.png'), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8 and (found == labels).all()
    assert (cv2.imread(str(out / 'img_dir/all/1.png')) == photo(16, 16)).all()
    assert json.loads((out / 'metainfo.json').read_text()) == mine


def test_every_folder_with_pairs_is_a_split_below_kaggles_root_too(tmp_path):
    for name in ('train/a/1.png', 'train/b/1.png', 'val/1.png', 'test/1.v2.png', '.bin/1.png'):
        write_pair(tmp_path / 'pairs/cityscapes_data/cityscapes_data' / name)
    write_pair(tmp_path / 'pairs' / 'cityscapes_data' / 'val' / '2.png')  # found first
    (tmp_path / 'pairs' / 'notes').mkdir()
    (tmp_path / 'pairs' / 'notes' / 'readme.txt').write_text('')
    assert split(tmp_path / 'pairs', tmp_path / 'out') == 0
    found = ['test/1.v2.png', 'train/a/1.png', 'train/b/1.png', 'val/2.png']
    assert names(tmp_path / 'out') == found


def test_only_what_has_changed_is_split_again(pairs_root, tmp_path, capsys):
    out = tmp_path / 'out'
    os.utime(pairs_root / 'train' / '1.png', (4e9, 4e9))
    assert split(pairs_root, out) == 0
    before = {path: path.stat().st_ctime_ns for path in out.glob('*_dir/*/*')}
    assert len(before) == 12
    os.remove(out / 'ann_dir' / 'val' / '1.png')
    changed = write_pair(pairs_root / 'train' / '2.png', seed=30)['labels']
    os.utime(pairs_root / 'train' / '2.png', (1e9, 1e9))  # as `cp -p` of an older file leaves it
    (pairs_root / 'train' / '3.png').write_bytes(b'no image any more')
    os.rename(pairs_root / 'train' / '4.png', pairs_root / 'val' / '4.png')
    capsys.readouterr()
    assert split(pairs_root, out) == 1
    output = capsys.readouterr()
    assert '2 of 6' in output.out and f'{pairs_root}/train/3.png' in output.err
    assert f': 1, e.g. {out}/img_dir/train/4.png' in output.err
    assert (cv2.imread(str(out / 'ann_dir/train/2.png'), 0) == changed).all()
    train, val = ([f'{name}/{i}.png' for i in (1, 2, 4)] for name in ('train', 'val'))
    assert names(out) == train + val
    for name in ('train/1.png', 'val/2.png', 'train/4.png'):
        for path in (out / 'img_dir' / name, out / 'ann_dir' / name):
            assert path.stat().st_ctime_ns == before[path]
