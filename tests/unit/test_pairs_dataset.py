"""Records of virtual files for stock pipelines, and arguments that are refused."""

import json
import logging
import shutil

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, LOAD, META, build, label_map, write_pair
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.fileio.backends.registry_utils import prefix_to_backends
from mmengine.logging import MMLogger

from pspnet_plugin.datasets import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.utils.natural_order import natural_key

CLASSES = CITYSCAPES['classes']


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(dataset))]


def labels_of(sample):
    return sample['data_samples'].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize('side', ['left', 'right'])
def test_stock_pipeline_gets_photo_and_labels(tmp_path, side):
    truth = write_pair(tmp_path / 'train' / '1.png', photo_side=side)
    sample = build(tmp_path, photo_side=side)[0]
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), truth['photo'])
    np.testing.assert_array_equal(labels_of(sample), truth['labels'])
    assert sample['data_samples'].ori_shape == (64, 64)
    assert sample['data_samples'].img_path.endswith('/1.png')


@pytest.mark.parametrize(
    'nested', ['', 'cityscapes_data', 'cityscapes_data/cityscapes_data'], ids=repr
)
def test_split_is_found_from_the_root(tmp_path, nested):
    write_pair(tmp_path / nested / 'train' / '1.png')
    assert len(build(tmp_path)) == 1
    assert len(build(f'{tmp_path}/', 'train/')) == 1


def test_split_is_found_by_an_absolute_prefix(pairs_root):
    prefix = dict(img_path=str(pairs_root / 'val'), seg_map_path='gtFine/val')
    assert len(CityscapesPairsDataset(data_root='none', data_prefix=prefix)) == 2


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
    (line,) = [r.getMessage() for r in caplog.records if '2 .txt, 1 .db' in r.getMessage()]
    assert '6 pairs' in line


def test_natural_key_orders_numbers_by_value():
    ordered = ['9', '09b', '10', 'a9', 'a10']
    assert sorted(['10', '9', 'a10', 'a9', '09b'], key=natural_key) == ordered


def test_order_by_name_is_that_of_a_sorted_listing(tmp_path):
    for name in ('1.png', '2.png', '10.png'):
        write_pair(tmp_path / 'train' / name)
    assert names(build(tmp_path, order='name')) == ['1.png', '10.png', '2.png']


@pytest.mark.parametrize('suffix', ['.json', '.py'])
def test_metainfo_may_lie_in_a_file(tmp_path, suffix):
    labels = label_map(64, 64, classes=3)
    colors = np.array(META['palette'], np.uint8)
    write_pair(tmp_path / 'train' / '1.png', labels=labels, palette=colors)
    file = tmp_path / f'metainfo{suffix}'
    lines = (f'{key} = {value!r}' for key, value in META.items())
    file.write_text(json.dumps(META) if suffix == '.json' else '\n'.join(lines))
    options = dict(data_root=str(tmp_path), data_prefix=dict(img_path='train'), pipeline=LOAD)
    by_file, given = (PairsDataset(metainfo=source, **options) for source in (str(file), META))
    for dataset in (by_file, given):
        np.testing.assert_array_equal(labels_of(dataset[0]), labels)
        assert dataset.metainfo['classes'] == META['classes']
        assert dataset.metainfo['palette'] == META['palette']
    assert by_file.get_data_info(0) == given.get_data_info(0)


def test_metainfo_may_be_a_known_set():
    known = PairsDataset(metainfo='camvid11', lazy_init=True)
    assert known.metainfo['classes'][0] == 'Sky' and len(known.metainfo['palette']) == 11
    with pytest.raises(FileNotFoundError, match=r'PairsDataset.*none\.json'):
        PairsDataset(metainfo='none.json', lazy_init=True)


@pytest.mark.parametrize('classes', [('car', 'road'), ('sky',), tuple(reversed(CLASSES))])
def test_subsets_of_classes_as_in_stock(pairs_root, classes):
    truth = write_pair(pairs_root / 'train' / '1.png', seed=9)['labels']
    dataset = build(pairs_root, metainfo=dict(classes=classes))
    expected = np.full_like(truth, 255)
    for new, name in enumerate(classes):
        expected[truth == CLASSES.index(name)] = new
    assert (expected != 255).any()
    np.testing.assert_array_equal(labels_of(dataset[0]), expected)
    colors = dict(zip(CLASSES, CITYSCAPES['palette'], strict=True))
    assert [list(c) for c in dataset.metainfo['palette']] == [colors[name] for name in classes]


def test_palette_given_with_a_subset_replaces_its_colours(pairs_root):
    dataset = build(pairs_root, metainfo=dict(classes=('road',), palette=[[9, 9, 9]]))
    assert dataset.decoder.palette[0] == (9, 9, 9)
    assert dataset.decoder.palette[1:] == tuple(map(tuple, CITYSCAPES['palette'][1:]))
    assert dataset.metainfo['palette'] == [[9, 9, 9]]


def test_ann_file_names_pairs_with_or_without_suffix(pairs_root):
    ann_file = pairs_root / 'some.txt'
    ann_file.write_text('3\n1.png\n\n')
    assert names(build(pairs_root, ann_file='some.txt')) == ['3.png', '1.png']
    ann_file.write_text('3\n7\n')
    with pytest.raises(FileNotFoundError, match="1 of the 2.*some.txt.*'7'"):
        build(pairs_root, ann_file='some.txt')
    with pytest.raises(FileNotFoundError, match=r'none\.txt'):
        build(pairs_root, ann_file='none.txt')
    write_pair(pairs_root / 'train' / '1.bmp')
    ann_file.write_text('1\n')
    with pytest.raises(ValueError, match="some.txt.*'1'"):
        build(pairs_root, ann_file='some.txt')


def test_pairs_of_another_backend_are_named_by_ann_file(pairs_root, monkeypatch):
    """A backend that cannot list, like http: names are joined to its prefix."""

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
    assert (dataset[0]['inputs'] == build(pairs_root)[1]['inputs']).all()


def test_folds_partition_a_split(tmp_path):
    for i in range(23):
        write_pair(tmp_path / 'train' / f'{i + 1}.png', height=8, width=8)
    held, rest = build(tmp_path, folds=[9]), build(tmp_path, folds=range(9))
    assert names(held) == ['10.png', '20.png']
    assert sorted(names(held) + names(rest)) == sorted(names(build(tmp_path)))
    listed = tmp_path / 'list.txt'
    listed.write_text(''.join(f'{i}.png\n' for i in range(23, 11, -1)))
    assert names(build(tmp_path, folds=(1,), ann_file=str(listed))) == ['22.png', '12.png']


def test_root_and_split_that_are_missing_or_empty_are_named(pairs_root):
    with pytest.raises(FileNotFoundError, match='no_root'):
        build(pairs_root / 'no_root')
    with pytest.raises(FileNotFoundError, match="'test'"):
        build(pairs_root, 'test')
    (pairs_root / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty.*\.jpg'):
        build(pairs_root, 'empty')
    (pairs_root / 'empty' / 'a.tif').write_text('')
    with pytest.raises(ValueError, match=r'1 \.tif'):
        build(pairs_root, 'empty')


def test_working_directory_is_no_default(pairs_root, monkeypatch):
    (pairs_root / 'cityscapes_data').mkdir()
    shutil.copytree(pairs_root / 'val', pairs_root / 'cityscapes_data/val')
    monkeypatch.chdir(pairs_root)
    with pytest.raises(ValueError, match='data_root.*data_prefix'):
        CityscapesPairsDataset(pipeline=[])


def test_first_pair_is_checked_at_once(tmp_path):
    write_pair(tmp_path / 'train' / '1.png', photo_side='right')
    with pytest.raises(ValueError, match=r"1\.png.*photo_side='right'"):
        build(tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (dict(photo_side='top'), "photo_side='top'"),
        (dict(order='size'), "order='size'"),
        (dict(on_bad_pair='ignore'), "on_bad_pair='ignore'"),
        (dict(folds=[]), r'folds=\[\]'),
        (dict(folds=[10]), r'folds=\[10\]'),
        (dict(folds='ab'), 'folds=ab'),
        (dict(folds=9), 'folds=9'),
        (dict(folds=[9]), r'folds=\[9\] of the 4'),
        (dict(metainfo=['car']), r"metainfo=\['car'\]"),
        (dict(decode=['max_distance']), 'decode='),
        (dict(decode=dict(max_dist=3)), 'max_dist'),
        (dict(data_prefix=dict(img='train')), 'data_prefix='),
        (dict(img_suffix='.jpg'), 'img_suffix'),
        (dict(backend_args=dict(backend='local')), "'backend': 'local'"),
        (dict(metainfo=dict(classes='car')), r"\('car',\)"),
        (dict(metainfo=dict(classes=('tree',))), "'tree'"),
        (dict(metainfo=dict(classes=('car', 'car'))), 'twice: car'),
    ],
    ids=str,
)
def test_unusable_argument_is_named(pairs_root, monkeypatch, arguments, named):
    (pairs_root / 'car').mkdir()  # a folder, not a file of classes
    monkeypatch.chdir(pairs_root)
    with pytest.raises(ValueError, match=f'CityscapesPairsDataset.*{named}'):
        options = dict(data_root=str(pairs_root), data_prefix=dict(img_path='train'))
        CityscapesPairsDataset(**{**options, **arguments})


@pytest.mark.parametrize(
    ('metainfo', 'named'),
    [
        (dict(classes=('a', 'b'), palette=[[0, 0, 0]]), '2 classes, but 1'),
        (dict(classes=('a', 'b')), 'palette'),
        (dict(classes=('a', 'a'), palette=[[0, 0, 0], [1, 1, 1]]), 'twice: a'),
    ],
)
def test_unusable_metainfo_of_files_or_subclass_is_named(pairs_root, metainfo, named):
    with pytest.raises(ValueError, match=f'PairsDataset.*{named}'):
        PairsDataset(data_root=str(pairs_root), metainfo=metainfo)
    rooms = type('Rooms', (PairsDataset,), dict(METAINFO=metainfo))
    with pytest.raises(ValueError, match=f'Rooms.*{named}'):
        rooms(data_root=str(pairs_root))


def test_class_named_twice_is_refused_also_where_the_subclass_has_no_palette(pairs_root):
    rooms = type('Rooms', (PairsDataset,), dict(METAINFO=dict(classes=('a', 'b'))))
    twice = dict(classes=('a', 'a'), palette=[[0, 0, 0], [1, 1, 1]])
    with pytest.raises(ValueError, match='Rooms.*twice: a'):
        rooms(data_root=str(pairs_root), metainfo=twice)
