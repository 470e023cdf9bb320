"""Pairs split into photos and index maps: the same arrays, and bad pairs are named."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.converters import names, outputs
from helpers.label_files import read
from helpers.pairs import LOAD, build, label_map, photo, write_pair
from mmseg.datasets import CityscapesDataset


def assert_same_records(pairs, out, name, **kwargs) -> int:
    ours = build(pairs, name, order='name', **kwargs)
    stock = CityscapesDataset(
        data_root=str(out),
        data_prefix=dict(img_path=f'img_dir/{name}', seg_map_path=f'ann_dir/{name}'),
        img_suffix='.png', seg_map_suffix='.png', pipeline=LOAD,
    )  # fmt: skip
    assert len(ours) == len(stock)
    for i in range(len(ours)):
        a, b = ours[i], stock[i]
        stems = [Path(record['data_samples'].img_path).stem for record in (a, b)]
        assert stems[0] == stems[1] and (a['inputs'] == b['inputs']).all()
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
def test_options_mean_what_they_mean_to_the_dataset(tmp_path, split, side, decode):
    suffixes = ('.jpg', '.PNG', '.jpeg', '.bmp', '.webp')
    for i in range(11):  # 10 comes before 2 by name
        write_pair(tmp_path / 'pairs' / 'train' / f'{i}{suffixes[i % 5]}', seed=i, photo_side=side)
    write_pair(tmp_path / 'pairs' / 'train' / 'sub' / '1.jpg', seed=20, photo_side=side)
    options = [f'--{key.replace("_", "-")}={value}'.lower() for key, value in decode.items()]
    pairs, out = tmp_path / 'pairs', tmp_path / 'out'
    split(pairs, out, '--photo-side', side, *options)
    assert assert_same_records(pairs, out, 'train', photo_side=side, decode=decode) == 12
    labels = [
        np.stack([record['data_samples'].gt_sem_seg.data for record in dataset])
        for dataset in (build(pairs, photo_side=side, decode=d) for d in (decode, {}))
    ]
    assert (labels[0] != labels[1]).any()


def test_labels_are_indices_of_a_palette_of_ones_own_that_metainfo_names(tmp_path, split):
    mine = dict(classes=['a', 'b'], palette=[[0, 0, 0], [255, 255, 255]])
    (tmp_path / 'mine.json').write_text(json.dumps(mine))
    labels = label_map(16, 16, classes=2)
    pair = write_pair(tmp_path / 'pairs/all/1.png', labels=labels, palette=mine['palette'])
    out = tmp_path / 'out'
    split(tmp_path / 'pairs', out, '--palette', tmp_path / 'mine.json')
    found = read(out / 'ann_dir/all/1.png')
    assert found.dtype == np.uint8 and (found == labels).all()
    assert (read(out / 'img_dir/all/1.png') == pair['photo']).all()
    assert json.loads((out / 'metainfo.json').read_text()) == mine


def test_every_folder_with_pairs_is_a_split_below_kaggles_root_too(tmp_path, split):
    for name in ('train/a/1.png', 'train/b/1.png', 'val/1.png', 'test/1.v2.png', '.bin/1.png'):
        write_pair(tmp_path / 'pairs/cityscapes_data/cityscapes_data' / name)
    write_pair(tmp_path / 'pairs' / 'cityscapes_data' / 'val' / '2.png')  # found first
    (tmp_path / 'pairs' / 'notes').mkdir()
    (tmp_path / 'pairs' / 'notes' / 'readme.txt').write_text('')
    split(tmp_path / 'pairs', tmp_path / 'out')
    found = ['test/1.v2.png', 'train/a/1.png', 'train/b/1.png', 'val/2.png']
    assert names(tmp_path / 'out') == found


def test_only_what_has_changed_is_split_again(pairs_root, tmp_path, split):
    out = tmp_path / 'out'
    os.utime(pairs_root / 'train' / '1.png', (4e9, 4e9))
    split(pairs_root, out)
    before = {path: path.stat().st_ctime_ns for path in out.glob('*_dir/*/*')}
    assert len(before) == 12
    os.remove(out / 'ann_dir' / 'val' / '1.png')
    changed = write_pair(pairs_root / 'train' / '2.png', seed=30)['labels']
    os.utime(pairs_root / 'train' / '2.png', (1e9, 1e9))  # as `cp -p` of an older file leaves it
    (pairs_root / 'train' / '3.png').write_bytes(b'no image any more')
    os.rename(pairs_root / 'train' / '4.png', pairs_root / 'val' / '4.png')
    output = split(pairs_root, out, status=1)
    assert '2 of 6' in output and f'{pairs_root}/train/3.png' in output
    assert f': 1, e.g. {out}/img_dir/train/4.png' in output
    assert (read(out / 'ann_dir/train/2.png') == changed).all()
    train, val = ([f'{name}/{i}.png' for i in (1, 2, 4)] for name in ('train', 'val'))
    assert names(out) == train + val
    for name in ('train/1.png', 'val/2.png', 'train/4.png'):
        for path in (out / 'img_dir' / name, out / 'ann_dir' / name):
            assert path.stat().st_ctime_ns == before[path]


def test_bad_pairs_are_named_and_the_rest_is_done(pairs_root, tmp_path, split):
    train, out = pairs_root / 'train', tmp_path / 'out'
    write_pair(train / 'cut.jpg', seed=7)
    whole = (train / 'cut.jpg').read_bytes()
    (train / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (train / 'text.jpg').write_text('no picture')
    cv2.imwrite(str(train / 'odd.png'), photo(16, 33))
    cv2.imwrite(str(train / 'photos.png'), photo(64, 128))
    write_pair(train / 'swapped.png', photo_side='right')
    lines = split(pairs_root, out, status=1).splitlines()
    carried = {
        'cut.jpg': '', 'text.jpg': '', 'odd.png': '33 x 16', 'photos.png': '--min-explained 0',
        'swapped.png': '--photo-side right',
    }  # fmt: skip
    for name, text in carried.items():
        assert any(str(train / name) in line and text in line for line in lines), name
    assert any('5 of 11' in line for line in lines)
    made = outputs(out)
    assert len(names(out)) == 6 and len(made) == 12

    (train / 'cut.jpg').write_bytes(whole)
    for name in carried.keys() - {'cut.jpg'}:
        (train / name).unlink()
    split(pairs_root, out)
    assert outputs(out).items() > made.items()
    assert 'train/cut.png' in names(out)


def test_an_output_directory_of_another_run_or_of_others_is_refused(pairs_root, tmp_path, split):
    out, other, foreign = tmp_path / 'out', tmp_path / 'other', tmp_path / 'foreign'
    split(pairs_root, out)
    before = outputs(out)
    output = split(pairs_root, out, '--max-distance', '7', '--photo-side', 'right', status=2)
    assert 'photo_side left' in output and 'max_distance 40.0' in output
    write_pair(other / 'train' / '1.png')
    output = split(other, out, status=2)
    assert str(pairs_root) in output and str(other) in output
    (out / '.split_pairs.json').write_text('{')
    split(pairs_root, out, status=2)
    assert outputs(out) == before

    foreign.mkdir()
    (foreign / 'mine.txt').write_text('')
    assert str(foreign / 'mine.txt') in split(pairs_root, foreign, status=2)
    assert [path.name for path in foreign.iterdir()] == ['mine.txt']


def test_a_run_that_made_nothing_may_be_repeated_with_other_settings(pairs_root, tmp_path, split):
    split(pairs_root, tmp_path / 'out', '--photo-side', 'right', status=1)
    split(pairs_root, tmp_path / 'out')
    assert len(names(tmp_path / 'out')) == 6


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        ('none out', 'none'),
        ('twice out', 'twice/val/1.jpg and twice/val/1.png'),
        ('pairs/train out', 'pairs/train/train/1.jpg'),
        ('pairs pairs/out', 'pairs/out'),
        ('pairs pairs/train/1.png', 'pairs/train/1.png'),
        ('pairs file', 'file'),
        ('pairs file/out', 'file'),
        ('pairs out --palette none', 'none'),
        ('pairs out --palette bad.yaml', 'bad.yaml'),
        ('pairs out --max-distance -1', 'max_distance=-1'),
        ('pairs out --min-explained 2', 'min_explained=2'),
        ('pairs out --min-confidence 2', 'min_confidence=2'),
        ('pairs out --max-distance x', "'x'"),
    ],
)
def test_bad_arguments_end_in_one_line(
    pairs_root, tmp_path, monkeypatch, split, arguments, carried
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    for suffix in ('.jpg', '.png'):
        write_pair(tmp_path / f'twice/val/1{suffix}')
    (tmp_path / 'bad.yaml').write_text('classes: [')
    output = split(*arguments.split(), status=2)
    assert carried in output.splitlines()[-1] and 'Traceback' not in output
    assert not (tmp_path / 'out').exists()
