"""Bad photos, label maps and arguments of ``make_pairs.py`` are named, and the rest is made."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import contents, maps, save, save_grey, with_colors, write_photos
from helpers.pairs import META, photo
from PIL import Image

MAP, PHOTO = 'maps/train/1.png', 'photos/train/1.png'
LABELS = maps(1)['train/0']
DEEP_COLORS = with_colors(LABELS).astype(np.uint16)[..., ::-1] * 257
# By another order of the classes.
TABLE = [META['palette'][i] for i in (2, 1, 0)] + [[90, 90, 90]] * 253
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
    'colour': (
        lambda f: save(f / MAP, marked(with_colors(LABELS), (1, 2, 3))),
        [MAP, '(1, 2, 3)', 'x=7, y=5; 1 '],
    ),
    'colour table': (lambda f: save(f / MAP, LABELS, table=TABLE), [MAP, 'index 0', 'class 2']),
    'cut off': (lambda f: (f / PHOTO).write_bytes((f / PHOTO).read_bytes()[:-300]), [PHOTO]),
    'damaged': (lambda f: flip_bits(f / MAP), [MAP]),
    'empty': (lambda f: (f / MAP).write_bytes(b''), [MAP]),
    'other size': (lambda f: save(f / PHOTO, photo(24, 41)), [PHOTO, '41 x 24', MAP, '40 x 24']),
    'turned': (
        lambda f: save_jpeg(f / PHOTO, photo(24, 40), exif=TURNED),
        ['photos/train/1.jpg', '24 x 40', MAP, '40 x 24'],
    ),
    'JPEG labels': (lambda f: save_jpeg(f / MAP, LABELS), ['maps/train/1.jpg', 'JPEG']),
    'deep photo': (lambda f: save(f / PHOTO, LABELS.astype('u2')), [PHOTO, 'I;16']),
    'deep colour photo': (lambda f: cv2.imwrite(str(f / PHOTO), DEEP_COLORS), [PHOTO, 'RGB;16']),
    'deep colours': (lambda f: cv2.imwrite(str(f / MAP), DEEP_COLORS), [MAP, 'RGB;16']),
    '2 bits': (lambda f: save_grey(f / MAP, np.minimum(LABELS, 3), bits=2), [MAP, ' 2 bits']),
    '4 bits': (lambda f: save_grey(f / MAP, np.minimum(LABELS, 15), bits=4), [MAP, ' 4 bits']),
    'absent': (lambda f: (f / MAP).unlink(), [': 1: train/1']),
}


@pytest.mark.parametrize(('spoil', 'carried'), SPOILED.values(), ids=SPOILED)
def test_a_bad_file_is_named_the_rest_made_and_fixing_it_completes(
    tmp_path, make, palette, spoil, carried
):
    arguments = [tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette]
    files = maps(4)

    def write():
        write_photos(tmp_path / 'photos', files)
        for name, values in files.items():
            save(tmp_path / 'maps' / f'{name}.png', values)

    write()
    spoil(tmp_path)
    output = make('folders', *arguments, status=1)
    for text in carried:
        assert text in output
    made = contents(tmp_path / 'out')
    assert set(made) == {'train/0.png', 'val/2.png', 'train/3.png'}
    for path in tmp_path.rglob('1.jpg'):
        path.unlink()
    write()
    make('folders', *arguments)
    again = contents(tmp_path / 'out')
    assert len(again) == 4 and made.items() < again.items()


def test_a_directory_of_other_files_is_refused(tmp_path, make, palette):
    files = maps(1)
    write_photos(tmp_path / 'photos', files)
    save(tmp_path / 'maps/train/0.png', files['train/0'])
    command = ['folders', tmp_path / 'photos', tmp_path / 'maps']
    make(*command, tmp_path / 'out', '--palette', palette)
    before = contents(tmp_path / 'out')
    output = make(*command, tmp_path / 'out', '--palette', palette, '--size', '16x8', status=2)
    assert 'size None' in output and '[16, 8]' in output
    assert str(tmp_path / 'out/train/0.png') in make('synthetic', tmp_path / 'out', status=2)
    assert contents(tmp_path / 'out') == before
    save(tmp_path / 'mine/train/a.png', photo(4, 4))
    output = make(*command, tmp_path / 'mine', '--palette', palette, status=2)
    assert 'mine/train/a.png' in output
    output = make(*command, tmp_path / 'maps/new', '--palette', palette, status=2)
    assert f'{tmp_path}/maps/new' in output


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        ('folders none maps out --palette cityscapes', 'none'),
        ('folders photos photos/train out --palette cityscapes', "'train/0' here, '0' there"),
        ('folders photos photos out --palette nothing.json', 'nothing.json'),
        ('folders photos photos out --palette twice.json', '(1, 1, 1)'),
        ('folders photos photos out --palette cityscapes --img-suffix _x', "'_x'"),
        ('folders double photos out --palette cityscapes', 'double/a.jpg'),
        ('folders photos photos photos/../photos/x --palette cityscapes', 'photos/x'),
        ('folders photos photos twice.json --palette cityscapes', 'twice.json'),
        ('cityscapes photos out', 'photos/leftImg8bit/train'),
        ('cityscapes root out', '*_gtFine_labelIds|labelTrainIds|color.png'),
        ('cityscapes root out --size 12x', "'12x'"),
        ('cityscapes root out --quality 0', "'0'"),
        ('folders photos photos out --palette cityscapes --quality 9', '--quality 9'),
    ],
)
def test_unusable_arguments_end_in_one_line_before_anything_is_written(
    tmp_path, make, monkeypatch, arguments, carried
):
    monkeypatch.chdir(tmp_path)
    write_photos(Path('photos'), maps(1))
    write_photos(Path('double'), {'a': LABELS}, suffix='.jpg')
    write_photos(Path('double'), {'a': LABELS}, suffix='.png')
    save(Path('root/leftImg8bit/train/ulm/ulm_0_leftImg8bit.png'), photo(4, 4))
    Path('root/gtFine/train').mkdir(parents=True)
    Path('twice.json').write_text(json.dumps(dict(classes=['a', 'b'], palette=[[1, 1, 1]] * 2)))
    before = sorted(tmp_path.rglob('*'))
    output = make(*arguments.split(), status=2)
    assert carried in output.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob('*')) == before


def test_a_pair_too_large_for_its_format_is_named(tmp_path, make, palette):
    save(tmp_path / 'photos/a.png', photo(2, 2))
    save(tmp_path / 'maps/a.png', LABELS[:2, :2])
    output = make(
        'folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette,
        '--size', '32767x2', '--format', 'jpg', status=1,
    )  # fmt: skip
    assert 'photos/a.png' in output and '65534 x 2' in output
