"""Records of virtual files for stock pipelines, and arguments that are refused."""

import json
import re

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, LOAD, META, build, label_map, write_pair
from hypothesis import given
from hypothesis import strategies as st
from mmengine import fileio
from mmengine.dataset import ClassBalancedDataset
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.fileio.backends.registry_utils import prefix_to_backends
from mmengine.logging import MMLogger

from pspnet_plugin.datasets import CityscapesPairsDataset, PairsDataset
from pspnet_plugin.datasets.bad_pairs import count_samples
from pspnet_plugin.datasets.listing import NESTED_ROOTS, _local_files, find_pairs
from pspnet_plugin.utils.natural_order import natural_key

CLASSES = CITYSCAPES['classes']


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(dataset))]


def labels_of(sample):
    return sample['data_samples'].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize(('side', 'other'), [('left', 'right'), ('right', 'left')])
def test_stock_pipeline_gets_photo_and_labels(tmp_path, side, other):
    truth = write_pair(tmp_path / 'train' / '1.png', photo_side=side)
    sample = build(tmp_path, photo_side=side)[0]
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), truth['photo'])
    np.testing.assert_array_equal(labels_of(sample), truth['labels'])
    assert sample['data_samples'].ori_shape == (64, 64)
    assert sample['data_samples'].img_path.endswith('/1.png')
    with pytest.raises(ValueError, match=rf"1\.png.*photo_side='{side}'"):
        build(tmp_path, photo_side=other)


@pytest.mark.parametrize('nested', ['', *NESTED_ROOTS], ids=repr)
def test_split_is_found_from_the_root_or_by_an_absolute_prefix(tmp_path, nested):
    folder = tmp_path / nested / 'train'
    write_pair(folder / '1.png')
    assert len(build(tmp_path)) == len(build(f'{tmp_path}/', 'train/')) == 1
    prefix = dict(img_path=str(folder), seg_map_path='gtFine/train')
    assert len(CityscapesPairsDataset(data_root='none', data_prefix=prefix)) == 1


def test_pairs_with_rare_classes_are_repeated_by_the_stock_wrapper(tmp_path):
    common, rare = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    common[0, :4] = 5  # less than a thousandth: noise
    rare[:8, :8] = 2
    for name, labels in dict(a=common, b=common, c=common, d=rare).items():
        write_pair(tmp_path / 'train' / f'{name}.png', labels=labels)
    dataset = build(tmp_path)
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[0], [0], [0], [0, 2]]
    balanced = ClassBalancedDataset(dataset, oversample_thr=0.5)
    assert names(balanced) == ['a.png', 'b.png', 'c.png', 'd.png', 'd.png']
    assert count_samples(balanced) == 4
    assert set(np.unique(labels_of(balanced[4]))) == {0, 2}


def test_natural_order_all_suffixes_and_a_count_of_the_rest(tmp_path, monkeypatch):
    wanted = ['1.JPG', '2.jpeg', '3.png', '10.bmp', '20.WEBP', 'b/1.png']
    for name in reversed(wanted):
        write_pair(tmp_path / 'train' / name)
    for name in ('notes.txt', 'Thumbs.db', '.hidden.jpg', 'b.txt'):
        (tmp_path / 'train' / name).write_text('')
    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', lines.append)
    assert names(build(tmp_path)) == [name.rpartition('/')[2] for name in wanted]
    (line,) = [line for line in lines if '2 .txt, 1 .db' in line]
    assert '6 pairs' in line
    in_string_order = ['1.JPG', '10.bmp', '2.jpeg', '20.WEBP', '3.png', '1.png']
    assert names(build(tmp_path, order='name')) == in_string_order


def test_natural_key_orders_numbers_by_value():
    ordered = ['9', '09b', '10', 'a9', 'a10']
    assert sorted(['10', '9', 'a10', 'a9', '09b'], key=natural_key) == ordered


def by_parts(name: str) -> tuple:
    """Natural order by its definition: text and numbers in turns, then the name."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if part.isdecimal() else part.lower() for part in parts], name


@given(st.lists(st.text(alphabet='0129aAb._- /é٣', max_size=6), min_size=2, unique=True))
def test_natural_key_is_the_order_of_text_and_numbers_in_turns(names):
    assert sorted(names, key=natural_key) == sorted(names, key=by_parts)


def test_local_files_are_those_that_the_framework_lists(tmp_path):
    for name in ('2.jpg', '10.jpg', 'b/c/1.png', 'b/notes.txt', '.hidden.jpg', '.git/1.jpg'):
        (tmp_path / 'train' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'train' / name).touch()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/3.jpg').touch()
    (tmp_path / 'train/link').symlink_to(tmp_path / 'other')
    folder = str(tmp_path / 'train')
    expected = set(fileio.list_dir_or_file(folder, list_dir=False, recursive=True))
    assert set(_local_files(folder)) == expected and len(expected) == 6
    assert find_pairs(folder, None) == ['2.jpg', '10.jpg', '.git/1.jpg', 'b/c/1.png', 'link/3.jpg']


def test_a_link_that_leads_nowhere_is_not_passed_over(pairs_root):
    (pairs_root / 'train/9.png').symlink_to('gone.png')
    dataset = build(pairs_root)
    assert names(dataset)[-1] == '9.png'
    with pytest.raises(FileNotFoundError, match=r'9\.png'):
        dataset[len(dataset) - 1]


@pytest.mark.parametrize('suffix', ['.json', '.py'])
def test_metainfo_may_lie_in_a_file(tmp_path, suffix):
    labels = label_map(64, 64, classes=3)
    write_pair(tmp_path / 'train' / '1.png', labels=labels, palette=META['palette'])
    file = tmp_path / f'metainfo{suffix}'
    lines = (f'{key} = {value!r}' for key, value in META.items())
    file.write_text(json.dumps(META) if suffix == '.json' else '\n'.join(lines))
    for source in (str(file), META):
        dataset = PairsDataset(metainfo=source, data_root=str(tmp_path / 'train'), pipeline=LOAD)
        np.testing.assert_array_equal(labels_of(dataset[0]), labels)
        assert dataset.metainfo['classes'] == META['classes']
        assert dataset.metainfo['palette'] == META['palette']
        assert dataset.decoder.void_palette == ((90, 90, 90),)


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
    colors = [CITYSCAPES['palette'][CLASSES.index(name)] for name in classes]
    assert [list(color) for color in dataset.metainfo['palette']] == colors


def test_palette_given_with_a_subset_replaces_its_colours(pairs_root):
    dataset = build(pairs_root, metainfo=dict(classes=('road',), palette=[[9, 9, 9]]))
    assert dataset.decoder.palette[0] == (9, 9, 9)
    assert dataset.decoder.palette[1:] == tuple(map(tuple, CITYSCAPES['palette'][1:]))
    assert dataset.metainfo['palette'] == [[9, 9, 9]]


def test_ann_file_names_pairs_with_or_without_suffix(pairs_root):
    write_pair(pairs_root / 'train' / '4.bmp')
    ann_file = pairs_root / 'some.txt'
    ann_file.write_text('3\n1.png\n\n')
    assert names(build(pairs_root, ann_file='some.txt')) == ['3.png', '1.png']
    for content, kind, named in (
        ('3\n7\n', FileNotFoundError, "1 of the 2.*some.txt.*'7'"),
        ('4\n', ValueError, "some.txt.*'4'"),
        ('\n', ValueError, 'some.txt'),
    ):
        ann_file.write_text(content)
        with pytest.raises(kind, match=named):
            build(pairs_root, ann_file='some.txt')
    with pytest.raises(FileNotFoundError, match=r'none\.txt'):
        build(pairs_root, ann_file='none.txt')


def test_pairs_of_another_backend_are_named_by_ann_file(pairs_root, monkeypatch):
    """A backend that cannot list, like http: names are joined to its prefix."""

    class Shelf(BaseStorageBackend):
        def get(self, filepath):
            return (pairs_root / filepath.removeprefix('shelf://')).read_bytes()

        def get_text(self, filepath):
            raise AssertionError

    monkeypatch.setitem(prefix_to_backends, 'shelf', Shelf)
    names_file = pairs_root / 'some.txt'
    names_file.write_text('2.png\n1.png\n')
    prefix = dict(img_path='shelf://train')
    dataset = CityscapesPairsDataset(data_prefix=prefix, ann_file=str(names_file), pipeline=LOAD)
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
    for folder in ('empty', 'strange/a.tif'):
        (pairs_root / folder).mkdir(parents=True)
    (pairs_root / 'strange/b.tif').write_text('')
    for root, split, kind, named in (
        ('no_root', 'train', FileNotFoundError, 'no_root'),
        ('.', 'test', FileNotFoundError, "'test'"),
        ('.', 'empty', ValueError, r'empty.*\.jpg'),
        ('.', 'strange', ValueError, r'1 \.tif'),
    ):
        with pytest.raises(kind, match=named):
            build(pairs_root / root, split)


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
        (dict(data_root=None, data_prefix={}), 'data_root.*data_prefix'),
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
    monkeypatch.chdir(pairs_root)  # which is no default for data_root
    options = dict(data_root=str(pairs_root), data_prefix=dict(img_path='train'))
    with pytest.raises(ValueError, match=f'CityscapesPairsDataset.*{named}'):
        CityscapesPairsDataset(**options | arguments)


COLORS = [[0, 0, 0], [1, 1, 1]]
UNUSABLE = [
    (dict(classes=('a', 'b'), palette=COLORS[:1]), '2 classes, but 1'),
    (dict(classes=('a', 'b')), 'palette'),
    (dict(classes=('a', 'a'), palette=COLORS), 'twice: a'),
]


@pytest.mark.parametrize(
    ('stored', 'metainfo', 'named'),
    [
        *(({}, metainfo, named) for metainfo, named in UNUSABLE),
        *((metainfo, None, named) for metainfo, named in UNUSABLE),
        (dict(classes=('a', 'b')), *UNUSABLE[2]),
    ],
)
def test_unusable_metainfo_given_or_of_a_subclass_is_named(pairs_root, stored, metainfo, named):
    rooms = type('Rooms', (PairsDataset,), dict(METAINFO=stored))
    with pytest.raises(ValueError, match=f'Rooms.*{named}'):
        rooms(data_root=str(pairs_root), metainfo=metainfo)
