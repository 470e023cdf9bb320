"""The contact sheet of a set of pairs."""

import re

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import codes, other_palette
from helpers.pairs import CITYSCAPES, label_map, write_pair

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.toolkit.inspection import contact_sheet
from pspnet_plugin.toolkit.inspection.contact_sheet import choose_rows, max_rows
from pspnet_plugin.toolkit.inspection.pair_statistics import DecodingSettings
from pspnet_plugin.toolkit.inspection.split_statistics import find_splits, measure_splits


def statistics_of(root):
    decoder = LabelDecoder(CITYSCAPES['palette'], rule='nearest')
    settings = DecodingSettings(CITYSCAPES['classes'], decoder, 'left')
    return measure_splits(find_splits(root)[0], settings, workers=1)


def tiles(sheet, rows) -> list[list[np.ndarray]]:
    """Cut the tiles, 768 x 768, out of a sheet of four columns."""
    image = cv2.imread(str(sheet))
    tops = range(image.shape[0] - 24 - 12 - 768, 0, -(768 + 34 + 12))[:rows]
    assert 0 < tops[-1] < 300 + 34 and image.shape[1] == 2 * 24 + 4 * 768 + 3 * 12
    lefts = range(24, image.shape[1] - 24, 768 + 12)
    return [[image[y : y + 768, x : x + 768] for x in lefts] for y in tops[::-1]]


@pytest.mark.parametrize('kind', ['fits', 'swapped', 'foreign'])
def test_the_sheet_shows_pixels_as_they_are(pairs_root, tmp_path, inspect, kind):
    root, name = pairs_root, 'train/1.png'
    if kind == 'foreign':
        root, name = other_palette(tmp_path / 'other', read_metainfo('camvid')['palette']), '0.png'
    sheet, side = tmp_path / 'sheet.png', 'right' if kind == 'swapped' else 'left'
    status = int(kind != 'fits')
    inspect(root, '--sheet', sheet, '--pairs', 2, '--photo-side', side, status=status)
    halves = np.split(cv2.imread(str(root / name)).repeat(12, 0).repeat(12, 1), 2, axis=1)
    photo, colors, decoded, _ = tiles(sheet, 2)[0]
    assert (photo == halves[side == 'right']).all() and (colors == halves[side == 'left']).all()
    assert (decoded == colors).all() == (kind == 'fits')


def test_the_sheet_shows_the_most_unsure_pairs(pairs_root):
    labels = label_map(64, 64, seed=5)
    labels[:32] = np.random.default_rng(0).integers(0, 19, (32, 64), dtype=np.uint8)
    write_pair(pairs_root / 'train' / '5.jpg', labels=labels, seed=5)
    rows = choose_rows(statistics_of(pairs_root), 6)
    assert len(rows) == 6 and len({row.path for row in rows}) == 6
    assert rows[-1].path.endswith('train/5.jpg') and '100.0% unsure' in rows[-1].caption
    assert all(' 0.0% unsure' in row.caption for row in rows[:-1])


def test_a_set_without_a_readable_pair_has_no_sheet(tmp_path, inspect):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '1.png').write_bytes(b'')
    output, findings = inspect(tmp_path / 'set', '--sheet', tmp_path / 'sheet.png', status=1)
    assert 'sheet.png' in output and not (tmp_path / 'sheet.png').exists()
    assert codes(findings) == [('error', 'unreadable', '.')]


def test_what_is_wrong_with_a_pair_stands_above_it(pairs_root):
    write_pair(pairs_root / 'val' / '13.png', seed=13, photo_side='right')
    other_palette(pairs_root / 'camvid', read_metainfo('camvid')['palette'])
    captions = [row.caption for row in choose_rows(statistics_of(pairs_root), 100)]
    assert len(captions) == 4 + 4 + 3
    for name, kind in (('val/13.png', 'swapped'), ('camvid/', 'foreign')):
        noted = [c for c in captions if contact_sheet.NOTES[kind] in c]
        assert noted and noted == [c for c in captions if name in c]


def test_more_pairs_than_a_sheet_holds_are_refused_at_start(pairs_root, tmp_path, inspect):
    arguments = ('--sheet', tmp_path / 'sheet.png', '--pairs')
    output, findings = inspect(pairs_root, *arguments, max_rows() + 1, status=2)
    assert f'--pairs {max_rows() + 1}' in output and f' {max_rows()}' in output
    assert findings is None
    assert 70 < max_rows() < contact_sheet.LARGEST_SIDE // 768


@pytest.mark.parametrize(
    ('limit', 'height', 'status', 'carried'),
    [(4000, 128, 0, '--pairs 3: only 2 '), (3500, 512, 1, r'3156 x 6\d{3} pixels')],
)
def test_tall_pairs_are_fewer_or_refused_with_their_size(
    tmp_path, inspect, monkeypatch, limit, height, status, carried
):
    monkeypatch.setattr(contact_sheet, 'LARGEST_SIDE', limit)
    assert max_rows() == 4
    for seed in range(3):
        write_pair(tmp_path / f'set/train/{seed}.png', seed=seed, height=height, width=64)
    sheet = tmp_path / 'sheet.png'
    output, _ = inspect(tmp_path / 'set', '--sheet', sheet, '--pairs', 3, status=status)
    assert re.search(carried, output) and sheet.exists() == (status == 0)
    assert not sheet.exists() or cv2.imread(str(sheet)).shape[0] < limit
