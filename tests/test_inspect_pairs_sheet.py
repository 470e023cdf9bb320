"""The contact sheet of a set of pairs."""

import cv2
import numpy as np
import pytest
from conftest import CITYSCAPES, label_map, write_pair
from inspected import codes, write_set

from pspnet_plugin.datasets.inspection.looks import Reading


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / 'set')


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


def test_the_sheet_shows_the_most_unsure_pairs(root, tmp_path, inspect_tool, inspect):
    labels = label_map(64, 64, seed=5)
    labels[:32] = np.random.default_rng(0).integers(0, 19, (32, 64), dtype=np.uint8)
    write_pair(root / 'train' / '5.png', labels=labels, seed=5)
    picture = cv2.imread(str(root / 'train' / '5.png'))
    content = cv2.imencode('.jpg', picture)[1]
    (root / 'train' / '5.png').write_bytes(content.tobytes())
    args = inspect_tool.parse_args([str(root), '--workers', '1'])
    reading = Reading(tuple(map(tuple, CITYSCAPES['palette'])), (), 'left', 'nearest', 40)
    tallies = inspect_tool.tally_splits(
        inspect_tool.find_splits(args.root)[0],
        reading=reading,
        classes=CITYSCAPES['classes'],
        workers=1,
    )
    rows = inspect_tool.choose_rows(tallies, 6)
    assert len(rows) == 6 and len({row.path for row in rows}) == 6
    noted = [row.path for row in rows if 'most unsure' in row.caption]
    assert len(noted) == 2 and noted[0].endswith('train/5.png')


def test_a_set_without_a_readable_pair_has_no_sheet(tmp_path, inspect):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '1.png').write_bytes(b'')
    output, findings = inspect(tmp_path / 'set', '--sheet', tmp_path / 'sheet.png', status=1)
    assert 'not drawn, as there is no pair that can be read' in output
    assert codes(findings) == [('error', 'unreadable', '.')]
