"""Corruptions of photos, and scores under them."""

import numpy as np
import pytest
from helpers.pairs import label_map, photo

from benchmarks.corruptions import CLEAN, CORRUPTIONS, evaluate


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_a_corruption_changes_a_photo_and_always_alike(name):
    image = photo(24, 32)
    before, found = image.copy(), CORRUPTIONS[name](image)
    assert found.dtype == np.uint8 and (found == CORRUPTIONS[name](image)).all()
    assert (image == before).all()
    shapes = {'4:3': (24, 43, 3), '2:1': (24, 64, 3), 'half size': (12, 16, 3)}
    assert found.shape == shapes.get(name, image.shape)
    same = found.shape == image.shape and (found == image).all()
    assert same == (name == CLEAN)


def test_known_values():
    grey = np.full((2, 2, 3), 64, np.uint8)
    assert (CORRUPTIONS['gamma 0.5'](grey) == 128).all()
    assert (CORRUPTIONS['gamma 2'](grey) == 16).all()
    assert (CORRUPTIONS['warm'](grey)[0, 0] == (45, 64, 83)).all()  # BGR


def test_a_network_that_sees_brightness_loses_where_it_changes():
    """It finds three classes by their greys."""
    truth = label_map(24, 32, classes=3)
    levels = np.array([20, 120, 220], np.uint8)
    records = [dict(img=np.repeat(levels[truth][..., None], 3, 2), gt_seg_map=truth)]

    def label(image: np.ndarray) -> np.ndarray:
        return abs(image[..., 1:2].astype(int) - levels).argmin(-1).astype(np.uint8)

    found = evaluate(label, records, 3)
    assert found[CLEAN] == dict(mIoU=100.0, aAcc=100.0)
    assert found['warm'] == found['cold'] == found[CLEAN]  # green stays
    assert found['gamma 0.5']['mIoU'] < 80


def test_labels_of_another_size_are_aligned():
    """Halves of blocks of 8 pixels, and of a photo made wider."""
    truth = np.kron(label_map(3, 4, classes=3), np.ones((8, 8), np.uint8))
    records = [dict(img=np.repeat(truth[..., None], 3, 2) * 100, gt_seg_map=truth)]
    found = evaluate(lambda image: np.rint(image[..., 0] / 100).astype(np.uint8), records, 3)
    assert found['half size'] == dict(mIoU=100.0, aAcc=100.0)
    assert found['4:3']['aAcc'] > 94
