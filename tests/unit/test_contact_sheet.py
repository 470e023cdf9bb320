"""The contact sheet of a set of pairs."""

import re

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import codes, other_palette, write_set
from helpers.pairs import CITYSCAPES, label_map, write_pair

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import NAMED
from pspnet_plugin.toolkit.inspection import contact_sheet
from pspnet_plugin.toolkit.inspection.contact_sheet import choose_rows, max_rows
from pspnet_plugin.toolkit.inspection.pair_statistics import DecodingSettings
from pspnet_plugin.toolkit.inspection.split_statistics import find_splits, measure_splits


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / 'set')


def statistics_of(root):
    decoder = LabelDecoder(CITYSCAPES['palette'], rule='nearest')
    settings = DecodingSettings(CITYSCAPES['classes'], decoder, 'left')
    return measure_splits(find_splits(root)[0], settings, workers=1)


def test_the_sheet_shows_pixels_as_they_are(root, tmp_path, inspect):
    inspect(root, '--sheet', tmp_path / 'sheet.png', '--pairs', 2)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[1] == 2 * 24 + 4 * 768 + 3 * 12
    rows = (768 + 34 + 12) * 2
    assert rows < sheet.shape[0] < rows + 300
    pair = cv2.imread(str(root / 'train' / '1.png')).repeat(12, 0).repeat(12, 1)
    top = sheet.shape[0] - 24 - rows + 34
    for i, half in enumerate((pair[:, :768], pair[:, 768:], pair[:, 768:])):
        left = 24 + i * (768 + 12)
        assert (sheet[top : top + 768, left : left + 768] == half).all()


def test_the_sheet_shows_the_most_unsure_pairs(root):
    labels = label_map(64, 64, seed=5)
    labels[:32] = np.random.default_rng(0).integers(0, 19, (32, 64), dtype=np.uint8)
    write_pair(root / 'train' / '5.png', labels=labels, seed=5)
    content = cv2.imencode('.jpg', cv2.imread(str(root / 'train' / '5.png')))[1]
    (root / 'train' / '5.png').write_bytes(content.tobytes())
    rows = choose_rows(statistics_of(root), 6)
    assert len(rows) == 6 and len({row.path for row in rows}) == 6
    assert rows[-1].path.endswith('train/5.png') and '100.0% unsure' in rows[-1].caption
    assert all(' 0.0% unsure' in row.caption for row in rows[:-1])


def test_a_set_without_a_readable_pair_has_no_sheet(tmp_path, inspect):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '1.png').write_bytes(b'')
    output, findings = inspect(tmp_path / 'set', '--sheet', tmp_path / 'sheet.png', status=1)
    assert 'sheet.png' in output and not (tmp_path / 'sheet.png').exists()
    assert codes(findings) == [('error', 'unreadable', '.')]


@pytest.mark.parametrize('swapped', [True, False], ids=['swapped', 'another palette'])
def test_pairs_that_do_not_fit_are_on_the_sheet(root, tmp_path, inspect, swapped):
    options = ['--photo-side', 'right'] if swapped else []
    if not swapped:
        root = other_palette(tmp_path / 'other', NAMED['camvid']['palette'])
    inspect(root, '--sheet', tmp_path / 'sheet.png', '--pairs', 1, *options, status=1)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))[-24 - 12 - 768 : -24 - 12]
    pair = cv2.imread(str(root / ('train/1.png' if swapped else '0.png')))
    halves = np.split(pair.repeat(12, 0).repeat(12, 1), 2, axis=1)
    for left, half in zip((24, 24 + 768 + 12), halves[::-1] if swapped else halves, strict=True):
        assert (sheet[:, left : left + 768] == half).all()


def test_what_is_wrong_with_a_pair_stands_above_it(root):
    write_pair(root / 'val' / '13.png', seed=13, photo_side='right')
    other_palette(root / 'camvid', NAMED['camvid']['palette'])
    captions = [row.caption for row in choose_rows(statistics_of(root), 100)]
    assert len(captions) == 4 + 4 + 3
    notes = contact_sheet.NOTES
    assert [c for c in captions if 'val/13.png' in c] == [
        c for c in captions if notes['swapped'] in c
    ]
    assert [c for c in captions if 'camvid/' in c] == [c for c in captions if notes['foreign'] in c]


def test_more_pairs_than_a_sheet_holds_are_refused_at_start(root, tmp_path, inspect):
    arguments = ('--sheet', tmp_path / 'sheet.png', '--pairs')
    output, findings = inspect(root, *arguments, max_rows() + 1, status=2)
    assert f'--pairs {max_rows() + 1}' in output and f' {max_rows()}' in output
    assert findings is None
    assert 70 < max_rows() < contact_sheet.LARGEST_SIDE // 768


def test_of_tall_pairs_fewer_are_drawn_and_that_is_said(tmp_path, inspect, monkeypatch):
    monkeypatch.setattr(contact_sheet, 'LARGEST_SIDE', 4000)
    assert max_rows() == 4
    for seed in range(3):
        path = tmp_path / 'set' / 'train' / f'{seed}.png'
        write_pair(path, seed=seed, height=128, width=64)
    sheet = tmp_path / 'sheet.png'
    output, _ = inspect(tmp_path / 'set', '--sheet', sheet, '--pairs', 3)
    assert '--pairs 3: only 2 ' in output
    assert cv2.imread(str(sheet)).shape[0] < 4000


def test_a_pair_that_is_too_tall_to_draw_is_named_with_its_size(tmp_path, inspect, monkeypatch):
    monkeypatch.setattr(contact_sheet, 'LARGEST_SIDE', 3500)
    write_pair(tmp_path / 'set' / 'train' / '1.png', height=512, width=64)
    sheet = tmp_path / 'sheet.png'
    output, _ = inspect(tmp_path / 'set', '--sheet', sheet, '--pairs', 2, status=1)
    assert re.search(r'3156 x 6\d{3} pixels', output)
    assert not sheet.exists()
