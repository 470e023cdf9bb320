"""``make_pairs.py folders`` matches names, and keeps splits, as people and programs have them."""

import json
from pathlib import Path

import cv2
import pytest
from helpers.label_files import maps, read_back, save
from helpers.pairs import META, label_map, photo
from helpers.sets import EMPTY, LABELS, write_set
from mmengine.config import Config
from PIL import Image

SPLIT_NAMES = [('train', 'valid', 'test'), ('Train', 'Val', 'Test'),
               ('training', 'validation', 'testing'), ('train2017', 'val2017', 'test2017'),
               ('TRAIN', 'dev', 'test')]  # fmt: skip


@pytest.mark.parametrize('names', SPLIT_NAMES, ids='-'.join)
@pytest.mark.parametrize('layout', ['separate', 'one directory'])
def test_usual_names_of_splits_are_known_and_test_is_kept_out(
    tmp_path, make, names, layout, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(Path(__file__).parents[2] / 'configs')
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for number, name in enumerate(names):
        for part in range(2):
            labels = label_map(24, 40, classes=3, seed=10 * number + part)
            sides = (
                [f'set/{name}/images', f'set/{name}/masks']
                if layout != 'separate'
                else [f'set/images/{name}', f'set/masks/{name}']
            )
            save(Path(sides[0], f'{part}.png'), photo(24, 40, seed=number))
            save(Path(sides[1], f'{part}.png'), labels)
    sources = ['set', 'set'] if layout != 'separate' else ['set/images', 'set/masks']
    output = make('folders', *sources, 'out', '--palette', 'palette.json', '--config', 'own.py')
    assert 'test is kept out' in output
    found = read_back(tmp_path / 'out', 'train', 'val', 'test')
    assert set(found) == {
        f'{split}/{part}' for split in ('train', 'val', 'test') for part in (0, 1)
    }
    for number, split in enumerate(('train', 'val', 'test')):
        labels = label_map(24, 40, classes=3, seed=10 * number + 1)
        assert (found[f'{split}/1'][1] == labels).all()
    config = Config.fromfile('own.py')
    prefixes = [
        config[f'{part}_dataloader'].dataset.data_prefix.img_path
        for part in ('train', 'val', 'test')
    ]
    assert prefixes == ['train', 'val', 'val']
    assert (
        'folds' not in config.train_dataloader.dataset or not config.train_dataloader.dataset.folds
    )


def test_test_photos_without_labels_are_kept_out_too(tmp_path, make):
    stored = maps(3)
    arguments = write_set(tmp_path, stored, META)
    save(tmp_path / 'photos/test/9.png', photo(24, 40))
    assert ': 1' in make(*arguments)
    assert set(read_back(tmp_path / 'out')) == set(stored)


def test_names_that_might_be_splits_are_asked_about(tmp_path, make):
    stored = {name.replace('val', 'split_b'): labels for name, labels in maps(3).items()}
    arguments = write_set(tmp_path, stored, META)
    assert 'split_b' in make(*arguments, status=2) and not (tmp_path / 'out').exists()
    make(*arguments, '--splits', 'train=train', 'val=split_b')
    assert set(read_back(tmp_path / 'out')) == set(maps(3))
    arguments[3] = tmp_path / 'none'
    make(*arguments, '--splits', 'none')
    assert set(read_back(tmp_path / 'none', 'train', 'split_b')) == set(stored)


def test_names_that_differ_by_what_is_before_them(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for number in range(2):
        save(tmp_path / f'all/image_{number}.png', photo(24, 40))
        save(tmp_path / f'all/mask_{number}.png', LABELS)
    arguments = [
        'folders',
        tmp_path / 'all',
        tmp_path / 'all',
        tmp_path / 'out',
        '--palette',
        tmp_path / 'palette.json',
    ]
    assert 'image_0.png' in make(*arguments, status=2)
    make(*arguments, '--img-prefix', 'image_', '--ann-prefix', 'mask_')
    assert (cv2.imread(str(tmp_path / 'out/0.png'))[:, :40] == photo(24, 40)[..., ::-1]).all()
    assert {p.name for p in (tmp_path / 'out').glob('*.png')} == {'0.png', '1.png'}


def test_files_of_other_suffixes_are_taken_or_counted(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS, 'train/1': LABELS, 'train/2': LABELS}, META)
    for number, suffix in enumerate(('jfif', 'jpe')):
        (tmp_path / f'photos/train/{number}.png').unlink()
        Image.fromarray(photo(24, 40)).save(tmp_path / f'photos/train/{number}.{suffix}', 'JPEG')
    for name in ('a.txt', 'b.txt', 'c.json', 'd'):
        (tmp_path / 'photos/train' / name).touch()
    output = make(*arguments)
    assert '2 .txt' in output and '1 .json' in output and '1 no suffix' in output
    assert len(read_back(tmp_path / 'out', 'train')) == 3


def test_splits_that_contradict_are_refused(tmp_path, make):
    names = ('a/0', 'b/1', 'a/deep/2')
    arguments = write_set(tmp_path, dict.fromkeys(names, LABELS), META)
    for splits in (('train=a', 'val=b', 'train=b'), ('train=a', 'val=a'), ('none', 'train=a')):
        assert '--splits' in make(*arguments, '--splits', *splits, status=2)


def test_photos_beside_or_between_splits_are_asked_about(tmp_path, make):
    arguments = write_set(tmp_path / '1', dict.fromkeys(('train/0', 'val/1', '2'), LABELS), META)
    assert 'photos/2.png' in make(*arguments, status=2)
    make(*arguments, '--splits', 'none')
    names = ('training/train/0', 'training/validation/1')
    arguments = write_set(tmp_path / '2', dict.fromkeys(names, LABELS), META)
    assert 'training/validation' in make(*arguments, status=2)


def test_no_file_is_passed_over(tmp_path, make):
    """Names with a sign in front, links to nothing, and links to a directory above."""
    arguments = write_set(tmp_path, dict.fromkeys(('@home', '@walk/0'), LABELS), META)
    for folder in ('photos', 'maps'):
        (tmp_path / folder / 'lost.png').symlink_to(tmp_path / 'nowhere')
        (tmp_path / folder / 'loop').symlink_to('..')
    output = make(*arguments, status=1)
    assert 'photos/lost.png' in output
    for name in ('@home', '@walk/0'):
        assert (tmp_path / f'out/{name}.png').is_file()
    same = write_set(tmp_path / 'same', {'image': LABELS}, META)
    (tmp_path / 'same/maps/image.png').rename(tmp_path / 'same/maps/mask.png')
    ends = ('--img-prefix', 'image', '--ann-prefix', 'mask')
    assert 'photos/image.png' in make(*same, *ends, status=2)


def test_photos_that_end_like_label_maps_are_photos(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name in ('new_mask', 'new_mask_mask', 'b', 'b_mask'):
        image = LABELS if name in ('new_mask_mask', 'b_mask') else photo(24, 40)
        save(tmp_path / f'all/{name}.png', image)
    both = [tmp_path / 'all'] * 2
    make(
        'folders',
        *both,
        tmp_path / 'out',
        '--palette',
        tmp_path / 'palette.json',
        '--ann-suffix',
        '_mask',
    )
    assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {'new_mask.png', 'b.png'}


def test_names_are_compared_as_people_read_them_and_files_of_systems_are_no_photos(tmp_path, make):
    labels = label_map(24, 40, classes=3)
    arguments = write_set(tmp_path, {'U\u0308ni': labels}, META)
    (tmp_path / 'photos/U\u0308ni.png').rename(tmp_path / 'photos/\u00dcni.png')
    for junk in ('.ipynb_checkpoints/a.png', '@eaDir/a.png', '__MACOSX/a.png', '._a.png'):
        save(tmp_path / 'photos' / junk, photo(4, 4))
    make(*arguments)
    assert [path.name for path in (tmp_path / 'out').glob('*.png')] == ['\u00dcni.png']


@pytest.mark.parametrize('wrong', [['train=train', 'val=vall'], ['train=train']])
def test_splits_that_are_no_directories_or_leave_some_out_are_named(tmp_path, make, wrong):
    arguments = write_set(tmp_path, maps(3), META)
    assert '--splits' in make(*arguments, '--splits', *wrong, status=2)
    assert not (tmp_path / 'out').exists()


def test_splits_may_lie_deeper(tmp_path, make):
    stored = {f'v1/{name}': labels for name, labels in maps(3).items()}
    make(*write_set(tmp_path, stored, META))
    assert set(read_back(tmp_path / 'out', 'train/v1', 'val/v1')) == {
        f'{name.split("/")[0]}/v1/{name.split("/")[1]}' for name in maps(3)
    }


@pytest.mark.parametrize('name', ['interval', 'festival', 'portraits'])
def test_names_that_only_contain_a_split_are_none(tmp_path, make, name):
    stored = {f'{name}/{i}': labels for i, labels in enumerate(maps(3).values())}
    make(*write_set(tmp_path, stored, META))


@pytest.mark.parametrize('beside', ['images_2/b.png', 'b.png'])
def test_images_beside_the_directories_of_both_are_named(tmp_path, make, beside):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name, image in (('images/a.png', photo(24, 40)), ('masks/a.png', LABELS), (beside, EMPTY)):
        save(tmp_path / 'set' / name, image)
    both = [tmp_path / 'set'] * 2
    output = make(
        'folders', *both, tmp_path / 'out', '--palette', tmp_path / 'palette.json', status=2
    )
    assert beside in output


def test_directories_are_told_by_the_innermost_name(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name in ('ann', 'bob'):
        save(tmp_path / f'set/{name}/images/a.png', photo(24, 40))
        save(tmp_path / f'set/{name}/masks/a.png', LABELS)
    both = [tmp_path / 'set'] * 2
    make('folders', *both, tmp_path / 'out', '--palette', tmp_path / 'palette.json')
    made = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.png')}
    assert made == {'ann/a.png', 'bob/a.png'}
