"""Bad photos, label maps and arguments of ``make_pairs.py`` are named, and the rest is made."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import (
    contents,
    maps,
    save,
    save_grey,
    with_colors,
    write_photos,
    write_sources,
)
from helpers.pairs import META, photo
from PIL import Image

MAP, PHOTO = 'maps/train/1.png', 'photos/train/1.png'
LABELS = maps(1)['train/0']
COLORS = with_colors(LABELS)
DEEP_COLORS = COLORS.astype(np.uint16)[..., ::-1] * 257
# By another order of the classes, and with a colour that is none.
TABLE = [META['palette'][i] for i in (2, 1, 0)] + [[90, 90, 91]] * 253
TURNED = Image.Exif()
TURNED[0x0112] = 6


def marked(array: np.ndarray, value) -> np.ndarray:
    array = array.copy()
    array[5, 7] = value
    return array


def flip_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)


def save_jpeg(path: Path, array: np.ndarray, **options) -> None:
    path.unlink()
    Image.fromarray(array).save(path.with_suffix('.jpg'), **options)


SPOILED = {
    'index': (lambda f: save(f / MAP, marked(LABELS, 34)), [MAP, 'index 34', 'x=7, y=5', '0 to 2']),
    'deep index': (lambda f: save(f / MAP, marked(LABELS.astype('u2'), 256)), [MAP, 'index 256']),
    'colour': (lambda f: save(f / MAP, marked(COLORS, (1, 2, 3))), [MAP, '(1, 2, 3)', 'y=5; 1 ']),
    'colour table': (lambda f: save(f / MAP, LABELS, table=TABLE), [MAP, 'index 0', 'class 2']),
    'cut off': (lambda f: (f / PHOTO).write_bytes((f / PHOTO).read_bytes()[:-300]), [PHOTO]),
    'damaged': (lambda f: flip_bits(f / MAP), [MAP]),
    'empty': (lambda f: (f / MAP).write_bytes(b''), [MAP]),
    'other size': (lambda f: save(f / PHOTO, photo(24, 41)), [PHOTO, '41 x 24', MAP, '40 x 24']),
    'turned': (
        lambda f: save_jpeg(f / PHOTO, photo(20, 40), exif=TURNED),
        ['photos/train/1.jpg', '20 x 40', MAP, '40 x 24'],
    ),
    'JPEG labels': (lambda f: save_jpeg(f / MAP, LABELS), ['maps/train/1.jpg', '--jpeg-labels']),
    'deep photo': (lambda f: save(f / PHOTO, LABELS.astype('u2')), [PHOTO, '16 bits', '--bits']),
    'deep colour photo': (
        lambda f: cv2.imwrite(str(f / PHOTO), DEEP_COLORS),
        [PHOTO, '16 bits', ' 51400'],
    ),
    'deep colours': (lambda f: cv2.imwrite(str(f / MAP), DEEP_COLORS), [MAP, 'RGB;16']),
    '2 bits': (lambda f: save_grey(f / MAP, np.minimum(LABELS, 3), bits=2), [MAP, ' 2 bits']),
    '4 bits': (lambda f: save_grey(f / MAP, np.minimum(LABELS, 15), bits=4), [MAP, ' 4 bits']),
    'absent': (lambda f: (f / MAP).unlink(), [': 1: train/1']),
}


@pytest.mark.parametrize(('spoil', 'carried'), SPOILED.values(), ids=SPOILED)
def test_a_bad_file_is_named_the_rest_made_and_fixing_it_completes(tmp_path, make, spoil, carried):
    sources = write_sources(tmp_path, maps(4))
    spoil(tmp_path)
    output = make('folders', *sources, status=1)
    assert all(text in output for text in carried)
    made = contents(tmp_path / 'out')
    assert made.keys() == {'train/0.png', 'val/2.png', 'train/3.png'}
    for path in tmp_path.rglob('1.jpg'):
        path.unlink()
    write_sources(tmp_path, maps(4))
    make('folders', *sources)
    again = contents(tmp_path / 'out')
    assert len(again) == 4 and made.items() < again.items()


def test_the_same_fault_of_many_files_is_told_once(tmp_path, make):
    sources = write_sources(tmp_path, {f'train/{i}': marked(LABELS, 34) for i in range(4)})
    save(tmp_path / 'maps/train/2.png', marked(LABELS.astype('u2'), 256))
    output = make('folders', *sources, status=1)
    told = [line for line in output.splitlines() if line.startswith('make_pairs: /')]
    assert ['index 34' in line for line in told] == [True, False, False, False]
    assert ['index 256' in line for line in told] == [False, False, True, False]
    for number in (1, 3):
        assert re.search(rf'maps/train/{number}\.png: .*maps/train/0\.png', told[number])


def test_a_directory_of_other_files_is_refused(tmp_path, make):
    sources = write_sources(tmp_path, maps(1))
    make('folders', *sources)
    before = contents(tmp_path / 'out')
    output = make('folders', *sources, '--size', '16x8', status=2)
    assert 'size None' in output and '[16, 8]' in output
    assert str(tmp_path / 'out/train/0.png') in make('synthetic', tmp_path / 'out', status=2)
    assert contents(tmp_path / 'out') == before
    save(tmp_path / 'mine/train/a.png', photo(4, 4))
    for out, named in (('mine', 'mine/train/a.png'), ('maps/new', 'maps/new')):
        sources[2] = tmp_path / out
        assert str(tmp_path / named) in make('folders', *sources, status=2)


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        ('folders photos photos out --palette cityscapes', 'photos/train/0.png'),
        ('folders none maps out --palette cityscapes', 'none'),
        ('folders photos photos/train out --palette cityscapes', "'train/0' here, '0' there"),
        ('folders photos maps out --palette nothing.json', 'nothing.json'),
        ('folders photos maps out --palette twice.json', '(1, 1, 1)'),
        ('folders photos maps out --palette cityscapes --img-suffix _x', "'_x'"),
        ('folders double maps out --palette cityscapes', 'double/a.jpg'),
        ('folders photos maps photos/../photos/x --palette cityscapes', 'photos/x'),
        ('folders photos maps twice.json --palette cityscapes', 'twice.json'),
        ('cityscapes photos out', 'photos/leftImg8bit/train'),
        ('cityscapes root out', '*_gtFine_labelIds|labelTrainIds|color.png'),
        ('cityscapes root out --size 12x', "'12x'"),
        ('cityscapes root out --quality 0', "'0'"),
        ('folders photos maps out --palette cityscapes --quality 9', '--quality 9'),
    ],
)
def test_unusable_arguments_end_in_one_line_before_anything_is_written(
    tmp_path, make, monkeypatch, arguments, carried
):
    monkeypatch.chdir(tmp_path)
    for folder in ('photos', 'maps'):
        write_photos(Path(folder), maps(1))
    write_photos(Path('double'), {'a': LABELS}, suffix='.jpg')
    write_photos(Path('double'), {'a': LABELS}, suffix='.png')
    save(Path('root/leftImg8bit/train/ulm/ulm_0_leftImg8bit.png'), photo(4, 4))
    Path('root/gtFine/train').mkdir(parents=True)
    Path('twice.json').write_text(json.dumps(dict(classes=['a', 'b'], palette=[[1, 1, 1]] * 2)))
    before = sorted(tmp_path.rglob('*'))
    output = make(*arguments.split(), status=2)
    assert carried in output.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob('*')) == before


def test_a_pair_too_large_for_its_format_is_named(tmp_path, make):
    sources = write_sources(tmp_path, {'a': LABELS[:2, :2]})
    output = make('folders', *sources, '--size', '32767x2', '--format', 'jpg', status=1)
    assert 'photos/a.png' in output and '65534 x 2' in output
