"""Resize label maps and photos; a void colour for palettes that lack one."""

import numpy as np
import pytest
from helpers.pairs import label_map, photo

from pspnet_plugin.toolkit.conversion.label_format import with_void
from pspnet_plugin.utils.resizing import fit, resize_labels, resize_photo


@pytest.mark.parametrize('size', [(6, 8), (12, 20), (50, 33), (5, 80), (24, 40)], ids=str)
def test_label_covers_most_of_its_pixel_and_enlarging_repeats(size):
    labels = label_map(24, 40, classes=5) * 40
    resized = resize_labels(labels, size)
    assert resized.shape == resize_photo(photo(24, 40), size).shape[:2] == size
    assert set(np.unique(resized)) <= set(np.unique(labels))
    # Exact shares on the least common multiple of both sizes.
    height, width = np.lcm(24, size[0]), np.lcm(40, size[1])
    fine = labels.repeat(height // 24, 0).repeat(width // 40, 1)
    cells = fine.reshape(size[0], height // size[0], size[1], width // size[1])
    shares = np.stack([(cells == value).mean((1, 3)) for value in range(0, 200, 40)])
    taken = np.take_along_axis(shares, (resized // 40)[None].astype(int), 0)[0]
    assert (taken > 0).all()
    if size[0] <= 24 and size[1] <= 40:
        assert (taken >= shares.max(0) - 0.01).all()


def test_fit_shrinks_the_longer_side_and_enlarges_nothing():
    cases = (((300, 600), 200), ((600, 1), 200), ((300, 600), 700))
    assert [fit(*case) for case in cases] == [(100, 200), (200, 1), (300, 600)]


def test_void_colour_is_far_from_any_palette():
    rng = np.random.default_rng(0)
    for count in (1, 19, 60):
        palette = rng.integers(0, 256, (count, 3)).tolist()
        meta = with_void(dict(palette=palette, void_palette=[]))
        distance = np.linalg.norm(np.array(palette) - meta['void_palette'][0], axis=1)
        assert distance.min() > 80
