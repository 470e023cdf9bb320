"""Pairs made of photos and label maps: what is bad is named, the rest is made."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import contents, maps, save, save_grey, with_colors, write_photos
from helpers.pairs import META, label_map, photo
from helpers.programs import MAKE_PAIRS
from PIL import Image

LABELS = maps(1)['train/0']
TURNED = Image.Exif()
TURNED[0x0112] = 6


def bad_index(folder):
    save(folder / 'maps/train/1.png', np.where(LABELS == 2, 34, LABELS).astype(np.uint8))


def deep_index(folder):
    save(folder / 'maps/train/1.png', np.where(LABELS == 2, 256, LABELS.astype(np.uint16)))


def bad_color(folder):
    colors = with_colors(LABELS)
    colors[5, 7] = 1, 2, 3
    save(folder / 'maps/train/1.png', colors)


def packed_colors(folder):
    table = [META['palette'][i] for i in (2, 1, 0)] + [[90, 90, 90]] * 253
    save(folder / 'maps/train/1.png', LABELS, table=table)


def cut_off(folder):
    path = folder / 'photos/train/1.png'
    path.write_bytes(path.read_bytes()[:-300])


def broken(folder):
    path = folder / 'maps/train/1.png'
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)


def other_size(folder):
    save(folder / 'photos/train/1.png', photo(24, 41))


def jpeg_labels(folder):
    (folder / 'maps/train/1.png').unlink()
    save(folder / 'maps/train/1.jpg', LABELS)


def deep_photo(folder):
    save(folder / 'photos/train/1.png', np.zeros((24, 40), np.uint16))


def deep_colors_of_photo(folder):
    path = folder / 'photos/train/1.png'
    cv2.imwrite(str(path), np.zeros((24, 40, 3), np.uint16))


def deep_colors(folder):
    colors = with_colors(LABELS).astype(np.uint16)[..., ::-1] * 257
    cv2.imwrite(str(folder / 'maps/train/1.png'), colors)


def two_bits(folder):
    save_grey(folder / 'maps/train/1.png', np.minimum(LABELS, 3), bits=2)


def four_bits(folder):
    path = folder / 'maps/train/1.png'
    save_grey(path, np.minimum(LABELS, 15), bits=4)
    shades = np.asarray(Image.open(path))
    np.testing.assert_array_equal(shades, np.minimum(LABELS, 15) * 17)


def turned(folder):
    path = folder / 'photos/train/1.png'
    path.unlink()
    Image.fromarray(photo(24, 40)).save(path.with_suffix('.jpg'), exif=TURNED)


def empty(folder):
    (folder / 'maps/train/1.png').write_bytes(b'')


def absent(folder):
    (folder / 'maps/train/1.png').unlink()


@pytest.mark.parametrize(
    ('spoil', 'messages'),
    [
        (bad_index, ['1.png: index 34 (at x=', 'expected 0 to 2, or 255 for what is ignored']),
        (deep_index, ['maps/train/1.png: index 256 (at x=']),
        (bad_color, ['maps/train/1.png: colour (1, 2, 3) (at x=7, y=5; 1 such', 'void_palette']),
        (packed_colors, ['1.png: index 0 of its', 'colour of class 2', 'save it as RGB']),
        (cut_off, ['photos/train/1.png: no picture, or cut off', 'copy it again']),
        (broken, ['maps/train/1.png: no picture, or cut off', 'copy it again']),
        (empty, ['maps/train/1.png: no picture, or cut off', 'copy it again']),
        (other_size, ['photos/train/1.png has 41 x 24', 'maps/train/1.png has 40 x 24']),
        (turned, ['photos/train/1.jpg has 24 x 40', 'maps/train/1.png has 40 x 24']),
        (jpeg_labels, ['maps/train/1.jpg: a JPEG', 'give the lossless original']),
        (deep_photo, ['photos/train/1.png: a picture with more than 8 bits', 'convert it']),
        (deep_colors_of_photo, ['photos/train/1.png: a picture with more than 8 bits', 'RGB;16']),
        (deep_colors, ['maps/train/1.png: several channels of 16 bits', 'of 8 bits: convert it']),
        (two_bits, ['1.png: grey of 2 bits', 'expected an 8-bit grey or palette PNG']),
        (four_bits, ['1.png: grey of 4 bits', 'expected an 8-bit grey or palette PNG']),
        (absent, ['photos without a label map: 1, left out: train/1. Add the maps']),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)  # fmt: skip
def test_a_bad_file_is_named_the_rest_made_and_mending_it_completes(
    tmp_path, make, palette, spoil, messages
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
    for message in messages:
        assert message in output
    made = contents(tmp_path / 'out')
    assert set(made) == {'train/0.png', 'val/2.png', 'train/3.png'}
    for path in tmp_path.rglob('1.jpg'):
        path.unlink()
    write()
    make('folders', *arguments)
    again = contents(tmp_path / 'out')
    assert len(again) == 4 and made.items() < again.items()


def test_a_folder_is_not_taken_twice(tmp_path, make, palette):
    files = maps(1)
    write_photos(tmp_path / 'photos', files)
    save(tmp_path / 'maps/train/0.png', files['train/0'])
    command = ['folders', tmp_path / 'photos', tmp_path / 'maps']
    make(*command, tmp_path / 'out', '--palette', palette)
    before = contents(tmp_path / 'out')
    output = make(*command, tmp_path / 'out', '--palette', palette, '--size', 16, status=2)
    assert 'made with size None, not [16, 16]. Give another folder' in output
    output = make('synthetic', tmp_path / 'out', status=2)
    assert 'was not made by this tool' in output
    assert contents(tmp_path / 'out') == before
    save(tmp_path / 'mine/train/a.png', photo(4, 4))
    output = make(*command, tmp_path / 'mine', '--palette', palette, status=2)
    assert 'train/a.png was not made by this tool' in output
    output = make(*command, tmp_path / 'maps/new', '--palette', palette, status=2)
    assert f'{tmp_path}/maps/new lies in {tmp_path}/maps' in output


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('folders none maps out --palette cityscapes', 'none: no such folder'),
        ('folders photos photos/train out --palette cityscapes', "e.g. 'train/0' here, '0' there"),
        ('folders photos photos out --palette nothing.json', 'nothing.json: no such file'),
        ('folders photos photos out --palette twice.json', 'name a colour twice: [(1, 1, 1)]'),
        (
            'folders photos photos out --palette cityscapes --img-suffix _x',
            "picture ending in '_x'",
        ),
        ('folders double photos out --palette cityscapes', 'double/a.jpg'),
        ('folders photos photos photos/../photos/x --palette cityscapes', 'lies in photos'),
        ('folders photos photos photos/train/0.png --palette cityscapes', 'lies in photos'),
        ('folders photos photos twice.json --palette cityscapes', 'twice.json'),
        ('cityscapes photos out', 'photos/leftImg8bit/train: no such folder, nor val'),
        ('cityscapes root out', 'no file *_gtFine_labelIds|labelTrainIds|color.png'),
        ('cityscapes root out --size 12x', "'12x' is no size; give e.g. 512x256"),
        ('cityscapes root out --quality 0', "'0' is no whole number from 1 to 100"),
        ('folders photos photos out --palette cityscapes --quality 9', 'goes with --format jpg'),
    ],
)
def test_unusable_arguments_end_in_one_line_before_anything_is_written(
    tmp_path, make, monkeypatch, arguments, message
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
    assert message in output.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob('*')) == before


def test_a_pair_too_large_for_its_format_is_named(tmp_path, make, palette):
    save(tmp_path / 'photos/a.png', photo(2, 2))
    save(tmp_path / 'maps/a.png', LABELS[:2, :2])
    output = make(
        'folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette,
        '--size', '32767x2', '--format', 'jpg', status=1,
    )  # fmt: skip
    assert 'photos/a.png: a pair of 65534 x 2 pixels (width x height) does not fit' in output


def start(folder: Path, *arguments, limit: str = ''):
    """The tool in a process of its own, on ``folder/photos`` and ``folder/maps``."""
    files = [folder / name for name in ('photos', 'maps', 'out')]
    palette = folder / 'palette.json'
    command = [sys.executable, MAKE_PAIRS, 'folders', *files, '--palette', palette, *arguments]
    return subprocess.Popen(
        ['bash', '-c', f'{limit} exec "$@"', 'bash', *map(str, command)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path, make, palette):
    labels = {f'train/{number}': label_map(400, 400, classes=3) for number in range(60)}
    write_photos(tmp_path / 'photos', labels)
    for name, values in labels.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    process = start(tmp_path, '--workers', '2')
    deadline = time.monotonic() + 60
    while len(contents(tmp_path / 'out')) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    made = contents(tmp_path / 'out')
    assert 3 <= len(made) < 60
    assert all(cv2.imread(str(tmp_path / 'out' / name)).shape == (400, 800, 3) for name in made)
    stamps = {name: (tmp_path / 'out' / name).stat().st_ctime_ns for name in made}
    make('folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette)
    assert len(contents(tmp_path / 'out')) == 60
    assert all((tmp_path / 'out' / n).stat().st_ctime_ns == stamp for n, stamp in stamps.items())
    assert not list((tmp_path / 'out').rglob('*.part'))


def test_what_cannot_be_written_ends_the_run_with_its_reason(tmp_path, palette):
    small, large = maps(1)['train/0'], label_map(400, 400, classes=3)
    labels = {'train/0': small, 'train/1': large}
    write_photos(tmp_path / 'photos', labels)
    for name, values in labels.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    # No file may grow beyond 64 KiB, as when a disk is full.
    process = start(tmp_path, '--workers', '2', limit='ulimit -f 64; trap "" XFSZ;')
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    last = stderr.strip().splitlines()[-1]
    assert 'File too large' in last and 'train/1.png' in last
    assert 'The pairs made so far are whole' in last and 'Traceback' not in stderr
    left = [path.name for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert sorted(left) in (
        ['.pairs.json', '0.png', 'metainfo.json'],
        ['.pairs.json', 'metainfo.json'],
    )
