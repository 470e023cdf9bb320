"""Records of virtual files for stock pipelines."""

import json
import logging

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, LOAD, build, photo, write_pair
from mmengine.dataset import DefaultSampler
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.fileio.backends.registry_utils import prefix_to_backends
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from pspnet_plugin.datasets import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.utils.natural_order import natural_key

FACADES = dict(classes=('wall', 'window'), palette=[[0, 0, 170], [0, 85, 255]])


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(dataset))]


def test_stock_pipeline_gets_photo_and_labels(pairs_root):
    truth = write_pair(pairs_root / 'train' / '1.png', seed=9)
    sample = build(pairs_root)[0]
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), truth['photo'])
    labels = sample['data_samples'].gt_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(labels, truth['labels'])
    assert sample['data_samples'].ori_shape == (64, 64)
    assert sample['data_samples'].img_path.endswith('/1.png')


@pytest.mark.parametrize(
    'nested', ['', 'cityscapes_data', 'cityscapes_data/cityscapes_data'], ids=repr
)
def test_split_is_found_from_the_root(tmp_path, nested):
    write_pair(tmp_path / nested / 'train' / '1.png')
    assert len(build(tmp_path)) == 1
    assert len(build(f'{tmp_path}/', 'train/')) == 1


def test_natural_order_all_suffixes_and_a_count_of_the_rest(tmp_path, caplog):
    wanted = ['1.JPG', '2.jpeg', '3.png', '10.bmp', '20.WEBP', 'b/1.png']
    for name in reversed(wanted):
        write_pair(tmp_path / 'train' / name)
    for name in ('notes.txt', 'Thumbs.db', '.hidden.jpg', 'b.txt'):
        (tmp_path / 'train' / name).write_text('')
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            dataset = build(tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert names(dataset) == [name.rpartition('/')[2] for name in wanted]
    lines = [r.getMessage() for r in caplog.records if 'ignored' in r.getMessage()]
    assert len(lines) == 1
    assert '6 pairs; 3 other files ignored (2 .txt, 1 .db)' in lines[0]


def test_natural_key_orders_numbers_by_value():
    assert sorted(['10', '9', 'a10', 'a9', '09b'], key=natural_key) == [
        '9',
        '09b',
        '10',
        'a9',
        'a10',
    ]


def test_order_by_name_is_that_of_a_sorted_listing(tmp_path):
    for name in ('1.png', '2.png', '10.png'):
        write_pair(tmp_path / 'train' / name)
    assert names(build(tmp_path, order='name')) == ['1.png', '10.png', '2.png']
    with pytest.raises(ValueError, match="order='size', expected one of"):
        build(tmp_path, order='size')


def test_photo_side(tmp_path):
    truth = write_pair(tmp_path / 'train' / '1.png', photo_side='right')
    sample = build(tmp_path, photo_side='right')[0]
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), truth['photo'])


def test_any_palette_through_metainfo(tmp_path):
    labels = np.kron(np.arange(4).reshape(2, 2) % 2, np.ones((32, 32))).astype(np.uint8)
    colors = np.array(FACADES['palette'], np.uint8)[labels][..., ::-1]
    (tmp_path / 'train').mkdir()
    cv2.imwrite(str(tmp_path / 'train' / '1.png'), np.hstack([photo(64, 64), colors]))
    dataset = DATASETS.build(
        dict(type='PairsDataset', data_root=str(tmp_path), data_prefix=dict(img_path='train'),
             metainfo=FACADES, pipeline=LOAD)
    )  # fmt: skip
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0].numpy(), labels)
    assert dataset.metainfo['classes'] == FACADES['classes']
    assert [list(c) for c in dataset.metainfo['palette']] == FACADES['palette']


@pytest.mark.parametrize('suffix', ['.json', '.py'])
def test_metainfo_may_lie_in_a_file_or_be_that_of_a_known_set(pairs_root, tmp_path, suffix):
    palette = [list(color) for color in CITYSCAPES['palette'][:3]]
    some = dict(classes=['a', 'b', 'c'], palette=palette, void_palette=CITYSCAPES['palette'][3:])
    file = tmp_path / f'metainfo{suffix}'
    lines = (f'{key} = {value!r}' for key, value in some.items())
    file.write_text(json.dumps(some) if suffix == '.json' else '\n'.join(lines))
    options = dict(data_root=str(pairs_root), data_prefix=dict(img_path='train'), pipeline=LOAD)
    named, given = (PairsDataset(metainfo=source, **options) for source in (str(file), some))
    assert named.metainfo['classes'] == given.metainfo['classes'] == some['classes']
    assert named.metainfo['palette'] == palette
    assert named.get_data_info(0) == given.get_data_info(0)
    known = PairsDataset(metainfo='camvid11', lazy_init=True)
    assert known.metainfo['classes'][0] == 'Sky' and len(known.metainfo['palette']) == 11
    with pytest.raises(FileNotFoundError, match='PairsDataset: metainfo=none.json: no such file'):
        PairsDataset(metainfo='none.json', lazy_init=True)


@pytest.mark.parametrize(
    'classes', [('car', 'road'), ('sky',), tuple(reversed(CITYSCAPES['classes']))]
)
def test_subsets_of_classes_as_in_stock(pairs_root, classes):
    truth = write_pair(pairs_root / 'train' / '1.png', seed=9)['labels']
    dataset = build(pairs_root, metainfo=dict(classes=classes))
    expected = np.full_like(truth, 255)
    for new, name in enumerate(classes):
        expected[truth == CITYSCAPES['classes'].index(name)] = new
    assert (expected != 255).any()
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0].numpy(), expected)
    colors = dict(zip(CITYSCAPES['classes'], CITYSCAPES['palette'], strict=True))
    assert [list(c) for c in dataset.metainfo['palette']] == [colors[name] for name in classes]


def test_a_palette_given_with_a_subset_replaces_its_colours(pairs_root):
    dataset = build(pairs_root, metainfo=dict(classes=('road',), palette=[[9, 9, 9]]))
    assert dataset.decoder.palette[0] == (9, 9, 9)
    assert dataset.decoder.palette[1:] == tuple(map(tuple, CITYSCAPES['palette'][1:]))
    assert dataset.metainfo['palette'] == [[9, 9, 9]]


def test_ann_file_names_pairs_with_or_without_suffix(pairs_root):
    (pairs_root / 'some.txt').write_text('3\n1.png\n\n')
    assert names(build(pairs_root, ann_file='some.txt')) == ['3.png', '1.png']
    (pairs_root / 'some.txt').write_text('3\n7\n')
    with pytest.raises(FileNotFoundError, match="1 of the 2 pairs named in .* the first is '7'"):
        build(pairs_root, ann_file='some.txt')
    with pytest.raises(FileNotFoundError, match=r'none\.txt is missing'):
        build(pairs_root, ann_file='none.txt')


def test_absolute_prefix_needs_no_root(pairs_root):
    assert (
        len(
            CityscapesPairsDataset(
                data_root='none', data_prefix=dict(img_path=str(pairs_root / 'val'))
            )
        )
        == 2
    )


def test_pairs_of_another_backend_are_named_by_ann_file(pairs_root, monkeypatch):
    """A backend that cannot list, as http: names are joined, and read by their prefix."""

    class Shelf(BaseStorageBackend):
        def get(self, filepath):
            return (pairs_root / filepath.removeprefix('shelf://')).read_bytes()

        def get_text(self, filepath):
            raise AssertionError

    monkeypatch.setitem(prefix_to_backends, 'shelf', Shelf)
    (pairs_root / 'some.txt').write_text('2.png\n1.png\n')
    dataset = CityscapesPairsDataset(
        data_prefix=dict(img_path='shelf://train'),
        ann_file=str(pairs_root / 'some.txt'),
        pipeline=LOAD,
    )
    assert names(dataset) == ['2.png', '1.png']
    local = build(pairs_root)
    assert (dataset[0]['inputs'] == local[1]['inputs']).all()


def test_inherited_seg_map_path_is_of_no_account(pairs_root):
    prefix = dict(img_path='train', seg_map_path='gtFine/train')
    assert len(CityscapesPairsDataset(data_root=str(pairs_root), data_prefix=prefix)) == 4


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_what_the_parent_reads(pairs_root, method):
    dataset = build(pairs_root)
    loader = Runner.build_dataloader(
        dict(
            dataset=dataset,
            sampler=DefaultSampler(dataset, shuffle=False),
            batch_size=2,
            num_workers=2,
            multiprocessing_context=method,
            collate_fn=dict(type='pseudo_collate'),
        )
    )
    seen = [
        (x, s)
        for batch in loader
        for x, s in zip(batch['inputs'], batch['data_samples'], strict=True)
    ]
    assert len(seen) == 4
    for (inputs, sample), expected in zip(seen, dataset, strict=True):
        assert (inputs == expected['inputs']).all()
        assert (sample.gt_sem_seg.data == expected['data_samples'].gt_sem_seg.data).all()


def test_folds_part_a_split(tmp_path):
    for i in range(23):
        write_pair(tmp_path / 'train' / f'{i + 1}.png', height=8, width=8)
    held, rest = build(tmp_path, folds=[9]), build(tmp_path, folds=range(9))
    assert names(held) == ['10.png', '20.png']
    assert sorted(names(held) + names(rest)) == sorted(names(build(tmp_path)))
    listed = tmp_path / 'list.txt'
    listed.write_text(''.join(f'{i}.png\n' for i in range(23, 11, -1)))
    assert names(build(tmp_path, folds=(1,), ann_file=str(listed))) == ['22.png', '12.png']


@pytest.mark.parametrize('folds', [[], [10], [-1, 3], 'ab', 9], ids=repr)
def test_folds_that_there_are_not(pairs_root, folds):
    with pytest.raises(ValueError, match='expected some of the numbers from 0 to 9'):
        build(pairs_root, folds=folds)


def test_folds_without_a_pair(pairs_root):
    with pytest.raises(ValueError, match=r'folds=\[9\] of the 4 pairs in .*train hold none'):
        build(pairs_root, folds=[9])
