"""Findings about a set of pairs."""

import re
import shutil

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import codes, finding, other_palette, write_halves
from helpers.pairs import SEEDS, coloured, label_map, photo, write_pair

from pspnet_plugin.labels.palettes import read_metainfo


def test_unreadable_files_are_named_with_the_reason(pairs_root, inspect):
    train = pairs_root / 'train'
    write_pair(train / '5.jpg', seed=9)
    content = (train / '5.jpg').read_bytes()
    (train / '5.jpg').write_bytes(content[: len(content) // 2])
    (train / '6.jpg').write_bytes(b'')
    (train / '7.jpg').write_text('404 not found')
    cv2.imwrite(str(train / '8.png'), photo(64, 127))
    (train / 'Thumbs.db').write_bytes(b'')
    _, findings = inspect(pairs_root, status=1)
    found = findings['splits']['train']
    assert found['unreadable'].keys() == {'5.jpg', '6.jpg', '7.jpg', '8.png'}
    assert '127 x 64' in found['unreadable']['8.png']
    assert found['ignored'] == {'.db': 1}
    assert found['pairs'] == 8 and found['in_palette'] == 4
    assert codes(findings) == [('error', 'unreadable', 'train')]
    message, files = finding(findings, 'unreadable')
    assert '4 of 8' in message and files == ['5.jpg', '6.jpg', '7.jpg', '8.png']


def test_swapped_halves_are_named_with_the_side(pairs_root, inspect):
    _, findings = inspect(pairs_root, '--photo-side', 'right', status=1)
    assert codes(findings) == [('error', 'swapped', 'train'), ('error', 'swapped', 'val')]
    assert "photo_side='left'" in findings['problems'][0]['message']
    write_pair(pairs_root / 'train' / '5.png', seed=5, photo_side='right')
    _, findings = inspect(pairs_root, status=1)
    assert findings['splits']['train']['swapped'] == ['5.png']
    message, files = finding(findings, 'swapped')
    assert '1 of 5' in message and 'photo_side' not in message and files == ['5.png']


@pytest.mark.parametrize(
    ('name', 'suffix'),
    [('camvid', '.jpg'), ('camvid11', '.png'), ('facades', '.png'), ('LoveDADataset', '.png')],
)
def test_another_palette_is_recognised(tmp_path, inspect, name, suffix):
    root = other_palette(tmp_path / 'set', read_metainfo(name)['palette'], suffix=suffix)
    output, findings = inspect(root, status=1)
    assert 'foreign' in [p['code'] for p in findings['problems']]
    assert f'--palette {name}\n' in output
    assert len(findings['splits']['.']['foreign']) == 4
    _, findings = inspect(root, '--palette', name)
    assert not [p for p in findings['problems'] if p['severity'] == 'error']


def bgr(palette) -> list:
    return [color[::-1] for color in palette]


ADE = read_metainfo('ADE20KDataset')['palette']  # of which some are those of several classes


@pytest.mark.parametrize(
    ('palette', 'carried', 'advice'),
    [
        (ADE, 'ADE20KDataset', '--palette ADE20KDataset'),
        (bgr(read_metainfo('cityscapes')['palette']), 'BGR', 'camvid'),
        (bgr(read_metainfo('camvid')['palette']), 'camvid', '--palette'),
        ([[i, i, i] for i in range(19)], 'make_pairs.py folders', '--palette'),
    ],
    ids=['ambiguous', 'BGR', 'camvid as BGR', 'indices'],
)
def test_palettes_that_are_of_no_use_are_recognised(tmp_path, inspect, palette, carried, advice):
    root = other_palette(tmp_path / 'set', palette)
    message, _ = finding(inspect(root, status=1)[1], 'foreign')
    assert carried in message and advice not in message


def test_photos_are_recognised(tmp_path, inspect):
    for seed in range(3):
        image = cv2.GaussianBlur(photo(64, 64, seed=seed), (0, 0), 3)
        write_halves(tmp_path / f'photos/{seed}.png', image, image)
    assert 'photos' in finding(inspect(tmp_path / 'photos', status=1)[1], 'foreign')[0]


def test_a_stray_image_is_named_without_a_guess_at_the_palette(pairs_root, inspect):
    for seed in range(20, 30):
        write_pair(pairs_root / 'train' / f'{seed}.png', seed=seed)
    cv2.imwrite(str(pairs_root / 'train/stray.png'), photo(64, 128))
    _, findings = inspect(pairs_root, status=1)
    assert codes(findings) == [('error', 'foreign', 'train')]
    message, files = finding(findings, 'foreign')
    assert '1 of 15' in message and '--palette' not in message and files == ['stray.png']


def test_a_colour_missing_from_the_palette_is_listed(pairs_root, inspect):
    for seed, start in ((4, 56), (5, 40), (6, 56)):  # most of it in 5
        colors = coloured(label_map(64, 64, seed=seed))
        colors[:, start:] = (10, 250, 240)
        write_halves(pairs_root / 'train' / f'{seed}.png', photo(64, 64, seed=seed), colors)
    output, findings = inspect(pairs_root, status=1)
    (color,) = findings['splits']['train']['unknown_colors']
    assert color['color'] == [240, 250, 10] and color['example'] == '5.png'
    assert codes(findings) == [('error', 'unknown-colors', 'train')]
    assert re.search(r'\(240, 250, 10\) +\d+\.\d+%  5\.png', output)
    assert color['share'] == pytest.approx((24 + 8 + 8) / 64 / 6, rel=0.2)


def test_blends_on_edges_are_no_missing_colours(demo_root, inspect):
    _, findings = inspect(demo_root)
    assert findings['splits'].keys() == {'train', 'val'}
    for split in findings['splits'].values():
        assert split['unexplained'] > 0.01 and split['unknown_colors'] == []
    assert {p['code'] for p in findings['problems']} <= {'absent'}


def test_a_photo_of_train_in_val_is_leakage(pairs_root, inspect):
    shutil.copy(pairs_root / 'train' / '2.png', pairs_root / 'val' / '20.png')
    content = cv2.imencode('.jpg', photo(64, 64, seed=3), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    smaller = cv2.resize(cv2.imdecode(content, 1), (48, 48), interpolation=cv2.INTER_AREA)
    write_halves(pairs_root / 'val' / '30.png', smaller, coloured(label_map(48, 48)))
    _, findings = inspect(pairs_root, status=1)
    message, files = finding(findings, 'leakage')
    assert '2 (1 of them' in message
    assert files == ['train/2.png', 'val/20.png', 'train/3.png', 'val/30.png']
    assert codes(findings)[0] == ('error', 'leakage', '')


def texture(name, *, seed):
    """Draw a photo of 256 x 256, like any other of its kind."""
    rng = np.random.default_rng([seed, 7])
    kind, spread = name.split()
    noise = rng.normal(0, int(spread), (256, 256, 3))
    if kind == 'waves':  # of several pixels
        noise = 4 * cv2.GaussianBlur(noise, (0, 0), 3)
    base = 120 if kind != 'horizon' else np.linspace(40, 200, 256)[:, None, None]
    return (base + noise).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize('name', ['noise 4', 'noise 40', 'waves 12', 'horizon 12'])
def test_copies_are_duplicates_and_photos_of_one_texture_are_not(tmp_path, inspect, name):
    colors = coloured(np.kron(label_map(64, 64), np.ones((4, 4), np.uint8)))
    train, val = tmp_path / 'set/train', tmp_path / 'set/val'
    for folder, seeds in ((train, range(20)), (val, range(100, 110))):
        for seed in seeds:
            write_halves(folder / f'{seed}.png', texture(name, seed=seed), colors)
    _, findings = inspect(tmp_path / 'set')
    assert not {'leakage', 'duplicates'} & {p['code'] for p in findings['problems']}
    coded = cv2.imencode('.jpg', texture(name, seed=3), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    write_halves(val / '200.png', cv2.imdecode(coded, 1), colors)
    shutil.copy(train / '5.png', train / '300.png')
    _, findings = inspect(tmp_path / 'set', status=1)
    message, files = finding(findings, 'leakage')
    assert '1 (0 of them' in message and files == ['train/3.png', 'val/200.png']
    message, files = finding(findings, 'duplicates')
    assert '1 (1 of them' in message and files == ['5.png', '300.png']


def test_copies_and_sizes_within_a_split_are_warnings(pairs_root, inspect):
    shutil.copy(pairs_root / 'train' / '2.png', pairs_root / 'train' / '7.png')
    write_pair(pairs_root / 'train' / '8.png', seed=8, height=32, width=64)
    (pairs_root / 'train' / 'more.tif').write_bytes(b'')
    _, findings = inspect(pairs_root)
    assert codes(findings) == [
        ('warning', code, 'train') for code in ('ignored', 'sizes', 'duplicates')
    ]
    assert finding(findings, 'duplicates')[1] == ['2.png', '7.png']
    assert findings['splits']['train']['sizes'] == {'64x32': 1, '64x64': 5}


@pytest.mark.parametrize('split', [80, 48], ids=['wide photo', 'wide labels'])
def test_halves_that_do_not_meet_in_the_middle_are_found(tmp_path, inspect, split):
    colors = coloured(label_map(64, 128 - split))
    for seed in range(3):
        write_halves(tmp_path / 'set' / f'{seed}.png', photo(64, split, seed=seed), colors)
    _, findings = inspect(tmp_path / 'set', status=1)
    assert ('error', 'seam', '.') in codes(findings)


def test_classes_that_never_occur_are_a_warning(pairs_root, inspect):
    for i, seed in enumerate(SEEDS['val'], 1):
        labels = label_map(64, 64, seed=seed, classes=17)
        write_pair(pairs_root / 'val' / f'{i}.png', seed=seed, labels=labels)
    _, findings = inspect(pairs_root)
    assert codes(findings) == [('warning', 'absent', 'val')]
    assert finding(findings, 'absent')[0].endswith(': motorcycle, bicycle')


@pytest.mark.parametrize('turn', range(8))
def test_labels_that_are_turned_against_their_photos_are_found(demo_root, tmp_path, inspect, turn):
    for number, path in enumerate(sorted((demo_root / 'train').iterdir())):
        left, right = np.split(cv2.imread(str(path)), 2, axis=1)
        if number < 2:
            right = np.rot90(right, turn)[:, :: -1 if turn > 3 else 1]
        write_halves(tmp_path / 'train' / f'{number}.png', left, right)
    _, findings = inspect(tmp_path)
    assert (('warning', 'turned', 'train') in codes(findings)) == (turn != 0)
    if turn:
        assert finding(findings, 'turned')[1] == ['0.png', '1.png']


def test_invisible_pixels_are_found(pairs_root, inspect):
    path = pairs_root / 'train/2.png'
    pair = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2BGRA)
    pair[:16, 64:, 3] = 0
    cv2.imwrite(str(path), pair)
    _, findings = inspect(pairs_root)
    message, files = finding(findings, 'transparent')
    assert files == ['2.png'] and '6.2%' in message
