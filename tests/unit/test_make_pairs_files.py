"""``make_pairs.py folders`` reads files as cameras and annotation programs write them."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import read_back, save, with_colors, write_tiff
from helpers.pairs import META, label_map, photo
from helpers.sets import BINARY, LABELS, labels_of, write_set
from PIL import Image


def with_alpha(path: Path, values: np.ndarray, *, mode: str, alpha: int) -> None:
    """Write a map with a transparent left part, in a mode that can have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opacity = np.full(values.shape, 255, np.uint8)
    opacity[:, :9] = alpha
    if mode == 'P':  # index 3, of any colour, is transparent
        stored = Image.fromarray(np.where(opacity < 255, 3, values).astype(np.uint8))
        stored.putpalette(np.array([*META['palette'], [200, 0, 0]], np.uint8).ravel().tolist())
        stored.save(path, transparency=bytes([255, 255, 255, alpha]))
    elif mode == 'LA':
        Image.merge('LA', [*map(Image.fromarray, (values, opacity))]).save(path)
    else:
        Image.fromarray(np.dstack([with_colors(values), opacity])).save(path)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_what_is_transparent_in_a_label_map_is_ignored(tmp_path, make, mode):
    def write(path, values):
        with_alpha(path, values, mode=mode, alpha=0)

    arguments = write_set(tmp_path, {'train/0': LABELS}, META, write)
    make(*arguments)
    expected = LABELS.copy()
    expected[:, :9] = 255
    assert (labels_of(tmp_path) == expected).all()
    with_alpha(tmp_path / 'maps/train/0.png', LABELS, mode=mode, alpha=128)
    arguments[3] = tmp_path / 'other'
    assert 'partly transparent' in make(*arguments, status=1)


def test_a_colour_that_is_transparent_in_an_rgb_png_is_ignored(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    Image.fromarray(with_colors(LABELS)).save(
        tmp_path / 'maps/train/0.png', transparency=tuple(META['palette'][1])
    )
    make(*arguments)
    assert (labels_of(tmp_path) == np.where(LABELS == 1, 255, LABELS)).all()


TRANSPOSED = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
              5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
              7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}  # fmt: skip


@pytest.mark.parametrize('orientation', TRANSPOSED)
@pytest.mark.parametrize('side', [24, 40])
def test_label_maps_are_turned_as_their_photos_are(tmp_path, make, orientation, side):
    labels = label_map(24, side, classes=3)
    arguments = write_set(tmp_path, {'train/0': labels}, META)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = photo(24, side)[..., ::-1]
    Image.fromarray(stored).save(tmp_path / 'photos/train/0.png', exif=exif)
    turn = TRANSPOSED[orientation]
    if side == 40 and orientation > 4:
        assert ': 1 label maps' in make(*arguments)
    else:  # the size does not tell
        assert '--turn-labels' in make(*arguments)
        assert (labels_of(tmp_path) == labels).all()
        arguments[3] = tmp_path / 'out2'
        make(*arguments, '--turn-labels', 'never')
        assert (read_back(tmp_path / 'out2', 'train')['train/0'][1] == labels).all()
        arguments[3] = tmp_path / 'out3'
        make(*arguments, '--turn-labels', 'always')
        (tmp_path / 'out').rename(tmp_path / 'out1')
        (tmp_path / 'out3').rename(tmp_path / 'out')
    found, turned = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found == turn(stored)).all() and (turned == turn(labels)).all()


def test_upright_label_maps_of_turned_photos_stay(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(40, 24)).save(tmp_path / 'photos/train/0.png', exif=exif)
    assert 'EXIF' not in make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()


def test_photos_of_12_bits(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    deep = photo(24, 40).astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / 'photos/train/0.png'), deep)
    assert '--bits' in make(*arguments, status=1)
    arguments[3] = tmp_path / 'out12'
    assert '1 in train' in make(*arguments, '--bits', '12')
    found, labels = read_back(tmp_path / 'out12', 'train')['train/0']
    assert (labels == LABELS).all()
    assert (found == np.rint(deep[..., ::-1] * (255 / 4095))).all()


def test_bands_that_are_no_colours_are_named(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'photos/train/0.png').unlink()
    write_tiff(tmp_path / 'photos/train/0.tif', np.dstack([photo(24, 40)] * 2)[..., :4])
    output = make(*arguments, status=1)
    assert 'train/0.tif' in output and '4 bands' in output


@pytest.mark.parametrize(('metainfo', 'quality'), [(META, 90), (BINARY, 75)], ids=['3', 'grey'])
def test_label_maps_that_are_jpegs_are_decoded_on_request(tmp_path, make, metainfo, quality):
    classes = len(metainfo['classes'])
    labels = np.kron(label_map(6, 10, classes=classes), np.ones((16, 16), np.uint8))
    arguments = write_set(tmp_path, {'train/0': labels}, metainfo)
    (tmp_path / 'maps/train/0.png').unlink()
    colors = np.array(metainfo['palette'], np.uint8)[labels]
    Image.fromarray(colors).save(tmp_path / 'maps/train/0.jpg', quality=quality)
    assert '--jpeg-labels' in make(*arguments, status=1)
    assert '--jpeg' not in make(*arguments, '--jpeg-labels', '--label-values', 'index', status=1)
    make(*arguments, '--jpeg-labels')
    found = labels_of(tmp_path)
    assert (found == 255).mean() < 0.02 and (found == labels)[found != 255].mean() > 0.995


@pytest.mark.parametrize('orientation', [3, 6, 8])
@pytest.mark.parametrize('tagged', ['photo', 'both', 'labels'])
def test_tiffs_with_an_orientation_are_turned_once(tmp_path, make, orientation, tagged):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    turn = TRANSPOSED[orientation]
    for folder, array in (('photos', photo(24, 40)[..., ::-1]), ('maps', LABELS)):
        path = tmp_path / folder / 'train/0.png'
        path.unlink()
        own = tagged == 'both' or folder.startswith(tagged)
        stored = array if own or tagged == 'photo' else np.ascontiguousarray(turn(array))
        options = dict(tiffinfo={274: orientation}) if own else {}
        Image.fromarray(stored).save(path.with_suffix('.tif'), **options)
    always = ['--turn-labels', 'always'] if orientation == 3 and tagged == 'photo' else []
    make(*arguments, *always)
    found, labels = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found == turn(photo(24, 40)[..., ::-1])).all() and (labels == turn(LABELS)).all()


def test_sources_that_changed_without_a_newer_date_are_noticed(tmp_path, make):
    """Archives may give all their files one date."""
    arguments = write_set(tmp_path, {'a/0': LABELS, 'b/0': LABELS[::-1]}, META)

    def date() -> None:
        for path in (*tmp_path.glob('photos/*/*'), *tmp_path.glob('maps/*/*')):
            os.utime(path, (315532800, 315532800))

    date()
    make(*arguments, '--splits', 'train=a', 'val=b')
    make(*arguments, '--splits', 'train=b', 'val=a')
    assert (labels_of(tmp_path, 'train/0') == LABELS[::-1]).all()
    before = (tmp_path / 'maps/b/0.png').stat().st_size
    save(tmp_path / 'maps/b/0.png', LABELS % 2)
    assert (tmp_path / 'maps/b/0.png').stat().st_size != before
    date()
    make(*arguments, '--splits', 'train=b', 'val=a')
    assert (labels_of(tmp_path, 'train/0') == LABELS % 2).all()


@pytest.mark.parametrize(
    ('suffix', 'options'),
    [('tif', dict(compression='jpeg')), ('webp', dict(quality=80)), ('avif', dict(quality=75)),
     ('jp2', {})],
)  # fmt: skip
def test_labels_that_a_compression_has_altered_are_refused(tmp_path, make, suffix, options):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(with_colors(LABELS)).save(tmp_path / f'maps/train/0.{suffix}', **options)
    assert '--jpeg-labels' in make(*arguments, status=1)


def test_lossless_webp_labels_are_taken(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(with_colors(LABELS)).save(tmp_path / 'maps/train/0.webp', lossless=True)
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()


def test_jpegs_of_class_numbers_are_refused(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, BINARY)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(np.minimum(LABELS, 1)).save(tmp_path / 'maps/train/0.jpg', quality=100)
    assert 'do not survive' in make(*arguments, '--jpeg-labels', status=2)
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    assert 'do not survive' in make(*arguments, '--jpeg-labels', status=2)


def test_pages_of_a_tiff_are_refused_and_overviews_are_not(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    path = tmp_path / 'maps/train/0.tif'
    Image.fromarray(LABELS).save(path, save_all=True, append_images=[Image.fromarray(LABELS)])
    assert '2 pages' in make(*arguments, status=1)
    overview = Image.fromarray(LABELS[::2, ::2].copy())
    overview.encoderinfo = dict(tiffinfo={254: 1})
    Image.fromarray(LABELS).save(path, save_all=True, append_images=[overview])
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()
