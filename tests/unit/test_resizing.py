"""Label maps in another size, and a void colour for palettes that lack one."""

import numpy as np
import pytest
from helpers.pairs import label_map, photo

from pspnet_plugin.toolkit.conversion.label_maps import with_void
from pspnet_plugin.utils.resizing import resize_labels, resize_photo


@pytest.mark.parametrize('size', [(8, 6), (20, 12), (33, 50), (80, 5), (40, 24)], ids=str)
def test_a_label_covers_most_of_its_pixel_and_enlarging_repeats(size):
    labels = label_map(24, 40, classes=5) * 40
    found = resize_labels(labels, size)
    assert found.shape == resize_photo(photo(24, 40), size).shape[:2] == size[::-1]
    assert set(np.unique(found)) <= set(np.unique(labels))
    # Exact shares on the least common multiple of both sizes.
    tall, wide = np.lcm(24, size[1]), np.lcm(40, size[0])
    fine = labels.repeat(tall // 24, 0).repeat(wide // 40, 1)
    cells = fine.reshape(size[1], tall // size[1], size[0], wide // size[0])
    shares = np.stack([(cells == value).mean((1, 3)) for value in range(0, 200, 40)])
    taken = np.take_along_axis(shares, (found // 40)[None].astype(int), 0)[0]
    assert (taken > 0).all()
    if size[0] <= 40 and size[1] <= 24:
        assert (taken >= shares.max(0) - 0.01).all()


def test_void_colour_is_far_from_any_palette():
    rng = np.random.default_rng(0)
    for count in (1, 19, 60):
        palette = rng.integers(0, 256, (count, 3)).tolist()
        meta = with_void(dict(palette=palette, void_palette=[]))
        assert meta == with_void(dict(palette=palette, void_palette=[]))
        distance = np.linalg.norm(np.array(palette) - meta['void_palette'][0], axis=1)
        assert distance.min() > 80
