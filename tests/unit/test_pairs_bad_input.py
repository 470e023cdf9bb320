"""Bad pairs and arguments: one readable error that names the value or file and the way out."""

import shutil

import pytest
from helpers.pairs import build, write_pair
from mmengine.runner import Runner

from pspnet_plugin.datasets import CityscapesPairsDataset, PairsDataset


def test_root_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="none' is missing.*Kaggle.*make demo"):
        build(tmp_path / 'none')


def test_no_place_at_all(pairs_root, monkeypatch):
    (pairs_root / 'cityscapes_data').mkdir()
    shutil.copytree(pairs_root / 'val', pairs_root / 'cityscapes_data/val')
    monkeypatch.chdir(pairs_root)
    with pytest.raises(ValueError, match='neither data_root nor data_prefix says where'):
        CityscapesPairsDataset(pipeline=[])


def test_split_missing(pairs_root):
    with pytest.raises(FileNotFoundError, match="holds no folder 'test'"):
        build(pairs_root, 'test')


def test_split_empty(pairs_root):
    (pairs_root / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'no pair in .*empty \(it is empty\).*\.jpg'):
        build(pairs_root, 'empty')
    (pairs_root / 'empty' / 'a.tif').write_text('')
    with pytest.raises(ValueError, match=r'1 \.tif'):
        build(pairs_root, 'empty')


def test_first_pair_is_checked_at_once(tmp_path):
    write_pair(tmp_path / 'train' / '1.png', photo_side='right')
    with pytest.raises(ValueError, match=r'1\.png: the halves look swapped'):
        build(tmp_path)


def test_palette_and_classes_of_different_length(pairs_root):
    with pytest.raises(ValueError, match='2 classes, but 1 colours'):
        PairsDataset(
            data_root=str(pairs_root), metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0]])
        )


def test_no_palette(pairs_root):
    with pytest.raises(ValueError, match='needs metainfo=dict'):
        PairsDataset(data_root=str(pairs_root), metainfo=dict(classes=('a', 'b')))


def test_classes_without_comma(pairs_root):
    with pytest.raises(ValueError, match=r"classes='car' is a string.*classes=\('car',\)"):
        build(pairs_root, metainfo=dict(classes='car'))


def test_unknown_class(pairs_root):
    with pytest.raises(ValueError, match="no class 'tree'; its classes are road, sidewalk"):
        build(pairs_root, metainfo=dict(classes=('tree',)))


def test_class_twice(pairs_root):
    with pytest.raises(ValueError, match='named twice: a'):
        PairsDataset(
            data_root=str(pairs_root),
            metainfo=dict(classes=('a', 'a'), palette=[[0, 0, 0], [1, 1, 1]]),
        )


def test_class_of_a_subset_twice(pairs_root):
    with pytest.raises(ValueError, match='named twice: car'):
        build(pairs_root, metainfo=dict(classes=('car', 'car')))


def test_classes_without_comma_where_a_folder_has_that_name(pairs_root, monkeypatch):
    (pairs_root / 'car').mkdir()
    monkeypatch.chdir(pairs_root)
    with pytest.raises(ValueError, match=r"classes='car' is a string"):
        build(pairs_root, metainfo=dict(classes='car'))


def test_subclass_with_a_palette_of_another_length(pairs_root):
    class Rooms(PairsDataset):
        METAINFO = dict(classes=('a', 'b'), palette=[[0, 0, 0]])

    with pytest.raises(ValueError, match='Rooms: 2 classes, but 1 colours'):
        Rooms(data_root=str(pairs_root))


def test_backend_that_would_bypass_the_pairs(pairs_root):
    with pytest.raises(ValueError, match='names a backend, which would bypass'):
        build(pairs_root, backend_args=dict(backend='local'))


def test_ambiguous_name_in_ann_file(pairs_root):
    write_pair(pairs_root / 'train' / '1.bmp')
    (pairs_root / 'some.txt').write_text('1\n')
    with pytest.raises(ValueError, match="names '1', which is several files"):
        build(pairs_root, ann_file='some.txt')


@pytest.mark.parametrize(
    'argument',
    [
        dict(metainfo=['car']),
        dict(decode=['max_distance']),
        dict(data_prefix=dict(img='train')),
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_arguments_of_another_shape(pairs_root, argument):
    with pytest.raises(ValueError, match=f'{next(iter(argument))}=.*(expected a dict|img_path)'):
        CityscapesPairsDataset(data_root=str(pairs_root), **argument)


def test_photo_side(pairs_root):
    with pytest.raises(ValueError, match="photo_side='top'"):
        build(pairs_root, photo_side='top')


def test_unknown_decode_argument(pairs_root):
    with pytest.raises(ValueError, match='max_dist'):
        build(pairs_root, decode=dict(max_dist=3))


def test_suffixes_have_no_meaning(pairs_root):
    with pytest.raises(ValueError, match='takes no img_suffix'):
        build(pairs_root, img_suffix='.jpg')


def test_a_bad_pair_amid_good_ones_is_named_by_a_worker(pairs_root):
    (pairs_root / 'train' / '3.png').write_bytes(b'')
    loader = Runner.build_dataloader(
        dict(
            dataset=build(pairs_root),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
            num_workers=1,
            collate_fn=dict(type='pseudo_collate'),
        )
    )
    with pytest.raises(ValueError, match=r'3\.png: no picture, or cut off') as error:
        list(loader)
    assert '.BadPair: ' in str(error.value).strip().splitlines()[-1]
