"""Decode colours into class indices, by both rules."""

import re

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured, label_map, photo

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.decoder import RULES

PALETTE, VOID = CITYSCAPES['palette'], CITYSCAPES['void_palette']


def nearest_by_definition(bgr, max_distance):
    """Class indices out of a distance for each pixel and colour."""
    known = np.array([*PALETTE, *VOID], float)
    distance = np.linalg.norm(bgr[..., ::-1][..., None, :].astype(float) - known, axis=-1)
    labels = distance.argmin(-1)
    far = np.zeros(labels.shape, bool) if max_distance is None else distance.min(-1) > max_distance
    return np.where((labels >= len(PALETTE)) | far, 255, labels)


@pytest.mark.parametrize('max_distance', [0, 20, 64.5, None])
def test_nearest_rule_equals_its_definition(max_distance):
    decoder = LabelDecoder(
        PALETTE, void_palette=VOID, rule='nearest', max_distance=max_distance, min_explained=0
    )
    noise = photo(60, 70)
    near = np.clip(coloured(label_map(60, 70)).astype(int) + noise % 31 - 15, 0, 255)
    near[:20] = coloured(label_map(20, 70))
    assert len(np.unique(nearest_by_definition(near, max_distance))) > 10
    for image in (noise, near.astype(np.uint8)):
        expected = nearest_by_definition(image, max_distance)
        np.testing.assert_array_equal(decoder.decode(image), expected)


@pytest.mark.parametrize(
    ('rule', 'colors', 'size'),
    [
        ('edge_aware', 1, (1, 1)),
        ('edge_aware', 30, (57, 31)),
        ('edge_aware', 255, (90, 83)),
        ('nearest', 5, (1, 40)),
        ('nearest', 90, (64, 64)),
    ],
)
def test_lossless_labels_are_decoded_unchanged(rule, colors, size):
    """Random maps, pixel by pixel as well as in areas, of a random palette."""
    rng = np.random.default_rng(colors)
    known = rng.choice(2**24, colors, replace=False)
    palette = np.stack([known >> 16, known >> 8 & 255, known & 255], -1).tolist()
    voids = colors // 3
    decoder = LabelDecoder(palette[voids:], void_palette=palette[:voids], rule=rule)
    labels = rng.integers(0, colors, size)
    labels[: size[0] // 2] = labels[0, 0]
    expected = np.where(labels < voids, 255, labels - voids)
    np.testing.assert_array_equal(decoder.decode(coloured(labels, palette)), expected)


@pytest.mark.parametrize('rule', RULES)
def test_void_and_unknown_colours_become_255(rule):
    image = coloured(label_map(32, 32))
    image[:4] = VOID[1][::-1]
    image[4:8] = (0, 255, 0)  # far from every colour
    labels = LabelDecoder(PALETTE, void_palette=VOID, rule=rule).decode(image)
    assert (labels[:8] == 255).all()
    assert (labels[8:] < 19).all()


def test_photo_is_no_label_image():
    decoder = LabelDecoder(PALETTE, void_palette=VOID)
    with pytest.raises(ValueError, match='50%'):
        decoder.decode(photo(64, 64))
    assert not decoder.is_label_image(photo(64, 64))
    assert decoder.is_label_image(coloured(label_map(64, 64)))


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (dict(palette=['red']), "palette[0] = 'red'"),
        (dict(palette=[(1, 2, 3), (1, None, 3)]), 'palette[1] = (1, None, 3)'),
        (dict(palette=[(1, 2, 3)], void_palette=[(1, 2, 3)]), '(1, 2, 3)'),
        (dict(palette=[(i, 0, j) for i in range(16) for j in range(16)]), '256'),
        (dict(max_distance=-1), 'max_distance=-1'),
        (dict(max_distance='40'), "max_distance='40'"),
        (dict(max_distance=float('nan')), 'max_distance=nan'),
        (dict(min_explained=2), 'min_explained=2'),
        (dict(min_confidence=-0.1), 'min_confidence=-0.1'),
        (dict(rule='kmeans'), "rule='kmeans'"),
    ],
    ids=str,
)
def test_unusable_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        LabelDecoder(**dict(palette=PALETTE) | arguments)
