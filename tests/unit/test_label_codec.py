"""Colours to class indices."""

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured, label_map, photo

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.decoder import RULES

PALETTE, VOID = CITYSCAPES['palette'], CITYSCAPES['void_palette']


def reference(bgr, palette, void, max_distance):
    """The rule by its definition, a distance for each pixel and colour."""
    known = np.array([*palette, *void], float)
    distance = np.linalg.norm(bgr[..., ::-1][..., None, :].astype(float) - known, axis=-1)
    labels = distance.argmin(-1)
    far = np.zeros(labels.shape, bool) if max_distance is None else distance.min(-1) > max_distance
    return np.where((labels >= len(palette)) | far, 255, labels)


@pytest.mark.parametrize('max_distance', [0, 1, 20, 40, 64.5, None])
def test_nearest_rule_equals_its_definition(max_distance):
    decoder = LabelDecoder(
        PALETTE, void_palette=VOID, rule='nearest', max_distance=max_distance, min_explained=0
    )
    noise = photo(60, 70)
    near = np.clip(coloured(label_map(60, 70)).astype(int) + noise % 31 - 15, 0, 255)
    near[:20] = coloured(label_map(20, 70))
    for picture in (noise, near.astype(np.uint8)):
        expected = reference(picture, PALETTE, VOID, max_distance)
        assert picture is noise or len(np.unique(expected)) > 10
        np.testing.assert_array_equal(decoder.decode(picture), expected)


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('seed', range(8))
def test_lossless_labels_come_back_unchanged(rule, seed):
    """Random maps, pixel by pixel as well as in areas, of random palettes and sizes."""
    rng = np.random.default_rng(seed)
    height, width, classes = rng.integers((1, 1, 1), (90, 90, 256))
    colors = rng.choice(2**24, classes, replace=False)
    palette = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], -1).tolist()
    voids = rng.integers(0, classes)
    decoder = LabelDecoder(palette[voids:], void_palette=palette[:voids], rule=rule)
    labels = rng.integers(0, classes, (height, width))
    labels[: height // 2] = labels[0, 0]
    expected = np.where(labels < voids, 255, labels - voids)
    np.testing.assert_array_equal(decoder.decode(coloured(labels, palette)), expected)


@pytest.mark.parametrize('rule', RULES)
def test_void_and_unknown_colours_become_255(rule):
    picture = coloured(label_map(32, 32))
    picture[:4] = VOID[1][::-1]
    picture[4:8] = (0, 255, 0)  # far from every colour
    labels = LabelDecoder(PALETTE, void_palette=VOID, rule=rule).decode(picture)
    assert (labels[:8] == 255).all()
    assert (labels[8:] < 19).all()


def test_any_palette_of_the_most_colours():
    palette = [(i, 255 - i, i // 2) for i in range(255)]
    labels = np.arange(255, dtype=np.uint8).reshape(15, 17)
    np.testing.assert_array_equal(LabelDecoder(palette).decode(coloured(labels, palette)), labels)


def test_a_view_of_a_half_decodes_like_a_copy():
    labels = label_map(30, 40)
    pair = np.hstack([photo(30, 40), coloured(labels)])
    np.testing.assert_array_equal(LabelDecoder(PALETTE).decode(pair[:, 40:]), labels)


def test_jpeg_noise_keeps_flat_areas():
    labels = np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2), np.ones((64, 64), np.uint8))
    content = cv2.imencode('.jpg', coloured(labels), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert (picture != coloured(labels)).any()
    decoded = LabelDecoder(PALETTE, void_palette=VOID).decode(picture)
    for block in (
        np.s_[8:56, 8:56],
        np.s_[8:56, 72:120],
        np.s_[72:120, 8:56],
        np.s_[72:120, 72:120],
    ):
        np.testing.assert_array_equal(decoded[block], labels[block])


def test_a_photo_is_no_label_picture():
    decoder = LabelDecoder(PALETTE, void_palette=VOID)
    with pytest.raises(ValueError, match='within 12 of a known colour, where 50%'):
        decoder.decode(photo(64, 64))
    assert not decoder.explains(photo(64, 64))
    assert decoder.explains(coloured(label_map(64, 64)))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(palette=[(0, 0)]), r'palette\[0\]'),
        (dict(palette=[(0, 0, 256)]), r'palette\[0\].*0\.\.255'),
        (dict(palette=['red']), r"palette\[0\] = 'red'"),
        (dict(palette=[(1, 2, 3), (1, 2, 3)]), 'twice'),
        (dict(palette=[(1, 2, 3)], void_palette=[(1, 2, 3)]), 'twice'),
        (dict(palette=[(i, 0, j) for i in range(16) for j in range(16)]), '256 colours'),
        (dict(palette=PALETTE, max_distance=-1), 'max_distance=-1'),
        (dict(palette=PALETTE, min_explained=2), 'min_explained=2'),
        (dict(palette=PALETTE, min_confidence=-0.1), 'min_confidence=-0.1'),
        (dict(palette=PALETTE, rule='kmeans'), "rule='kmeans', expected one of"),
        (dict(palette=[(1, 2, 3), (1, None, 3)]), r'palette\[1\]'),
        (dict(palette=PALETTE, max_distance='40'), "max_distance='40'"),
        (dict(palette=PALETTE, max_distance=float('nan')), 'max_distance=nan'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_unusable_palettes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelDecoder(**arguments)
