"""Edge-aware decoding of shrunk, JPEG-coded label images, against the maps behind them."""

from functools import lru_cache

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.decoder import RULES
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.labels.surroundings import ClassSets
from pspnet_plugin.toolkit.synthetic import render_pair, street_scene

PALETTE, VOID = CITYSCAPES['palette'], CITYSCAPES['void_palette']
FACADES = read_metainfo('facades')['palette']
INDEX = {name: i for i, name in enumerate(CITYSCAPES['classes'])}
ROAD, CAR, TRUCK = (INDEX[name] for name in ('road', 'car', 'truck'))
EDGES = LabelDecoder(PALETTE, void_palette=VOID)
NEAREST = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=None)


def jpeg(image, quality=95):
    """Code as the real pairs are: 4:2:0 chroma."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip
    return cv2.imdecode(cv2.imencode('.jpg', image, options)[1], cv2.IMREAD_COLOR)


def coded(labels, *, quality=95, palette=PALETTE):
    """Return a label image a quarter as wide and high, made as the real ones were."""
    size = labels.shape[1] // 4, labels.shape[0] // 4
    small = cv2.resize(coloured(labels, palette), size, interpolation=cv2.INTER_AREA)
    return jpeg(small, quality)


@lru_cache
def scenes():
    """Return pairs of generated streets, and their exact labels."""
    return [render_pair(*street_scene(np.random.default_rng(seed))) for seed in range(200, 206)]


def scores(quality, **arguments):
    """Return coverage, accuracy of what is kept, and share of phantoms, over generated scenes."""
    decoder = LabelDecoder(PALETTE, void_palette=VOID, **arguments)
    kept, right, phantom = [], [], []
    for pair, truth in scenes():
        labels = decoder.decode(jpeg(pair, quality)[:, 256:])
        known = truth != 255
        kept.append((labels[known] != 255).mean())
        right.append((labels == truth)[known & (labels != 255)].mean())
        phantom.append((~np.isin(labels, [*np.unique(truth), 255])).mean())
    return np.mean(kept), np.mean(right), np.mean(phantom)


@pytest.mark.parametrize(
    ('quality', 'limit', 'confidence'),
    [(95, 40, 0.8), (75, 40, 0.8), (75, 60, 0.5), (75, 30, 0.8), (75, 10, 0.995), (75, 5, 1)],
)
def test_some_confidence_beats_each_limit_of_nearest_colours(quality, limit, confidence):
    other = scores(quality, rule='nearest', max_distance=limit)
    coverage, accuracy, phantom = scores(quality, min_confidence=confidence)
    assert coverage > other[0] and accuracy > other[1] and phantom <= other[2]


def test_confidence_trades_pixels_for_accuracy():
    low, high = (scores(75, min_confidence=share) for share in (0.6, 0.95))
    assert low[0] > high[0] and low[1] < high[1] and low[2] < 0.001


def test_no_phantoms_along_an_edge():
    """Nearest colours find third classes between road and car."""
    y, x = np.mgrid[:512, :512]
    labels = np.where(y > 0.37 * x + 150, ROAD, CAR).astype(np.uint8)
    image = coded(labels)
    assert set(np.unique(NEAREST.decode(image))) - {ROAD, CAR, 255}
    decoded = EDGES.decode(image)
    assert set(np.unique(decoded)) <= {ROAD, CAR, 255}
    assert (decoded == labels[2::4, 2::4]).mean() > 0.98
    assert (decoded == 255).mean() < 0.02


@pytest.mark.parametrize('offset', range(4))
def test_thin_poles_stay_connected(offset):
    """Poles 1.75 pixels wide, at any place within a pixel, that widen nowhere."""
    building, sky, pole = (INDEX[name] for name in ('building', 'sky', 'pole'))
    labels = np.full((512, 512), building, np.uint8)
    labels[:200] = sky
    for x in range(64, 480, 64):
        labels[100:400, x + offset : x + offset + 7] = pole
    decoded = EDGES.decode(coded(labels))
    for x in range(16, 120, 16):
        assert (decoded[30:95, x : x + 3] == pole).any(1).mean() > 0.9
    assert set(np.unique(decoded)) <= {building, sky, pole, 255}


@pytest.mark.parametrize(
    ('palette', 'thing', 'ground', 'quality'),
    [
        (PALETTE, 'person', 'building', 95), (PALETTE, 'traffic sign', 'sky', 75),
        (PALETTE, 'traffic light', 'building', 75), (PALETTE, 'rider', 'road', 95),
        (PALETTE, 'pole', 'vegetation', 95), (PALETTE, 'bicycle', 'sidewalk', 75),
        (FACADES, 9, 1, 75), (FACADES, 5, 1, 95), (FACADES, 2, 0, 95),
    ],
)  # fmt: skip
def test_stripes_that_show_their_pure_colour_nowhere_are_found(palette, thing, ground, quality):
    """Three pixels wide, at any place within a pixel, with nothing of the class elsewhere."""
    thing, ground = INDEX.get(thing, thing), INDEX.get(ground, ground)
    decoder = LabelDecoder(palette, void_palette=VOID if palette is PALETTE else [])
    right, wrong = [], []
    for offset in range(4):
        labels = np.full((512, 512), ground, np.uint8)
        for x in range(64, 480, 128):
            labels[:, x + offset : x + offset + 12] = thing
        decoded = decoder.decode(coded(labels, quality=quality, palette=palette))
        right.append((decoded == thing)[labels[2::4, 2::4] == thing].mean())
        wrong.append((~np.isin(decoded, [thing, ground, 255])).mean())
    assert np.mean(right) > 0.6 and np.mean(wrong) < 0.02


def test_few_pixels_of_a_class_that_is_sure_nowhere_are_a_coincidence():
    image = np.full((64, 64, 3), PALETTE[ROAD][::-1], np.uint8)
    image[10, 10:15] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(image))) == {ROAD, 255}
    image[20:23, 10:30] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(image))) == {ROAD, TRUCK}


def test_void_colours_take_part_and_end_as_255():
    labels = np.zeros((256, 256), np.uint8)
    labels[:, 128:] = 1
    image = coded(labels, palette=[PALETTE[ROAD], VOID[1]])
    decoded = LabelDecoder([PALETTE[ROAD]], void_palette=[VOID[1]]).decode(image)
    assert (decoded[:, :31] == 0).all()
    assert (decoded[:, 33:] == 255).all()


def test_more_classes_than_a_number_has_bits():
    rng = np.random.default_rng(1)
    levels = np.arange(0, 250, 48)
    palette = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)[:80].tolist()
    labels = np.kron(rng.permutation(80).reshape(8, 10).astype(np.uint8), np.ones((40, 40), 'u1'))
    image, truth = coded(labels, palette=palette), labels[2::4, 2::4]
    decoded, nearest = (LabelDecoder(palette, rule=rule).decode(image) for rule in RULES)
    assert len(np.unique(truth)) == 80
    assert (decoded != 255).mean() > 0.75
    assert (decoded == truth)[decoded != 255].mean() > (nearest == truth)[nearest != 255].mean()


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 1), (2, 3), (300, 513)], ids=str)
def test_any_size_and_any_noise_decodes(size):
    rng = np.random.default_rng(0)
    decoder = LabelDecoder(PALETTE, void_palette=VOID, min_explained=0)
    for image in (rng.integers(0, 256, (*size, 3), 'u1'), np.full((*size, 3), 128, 'u1')):
        decoded = decoder.decode(image)
        assert decoded.shape == size and decoded.dtype == np.uint8
        assert ((decoded < 19) | (decoded == 255)).all()


def test_sure_pixels_keep_the_class_of_their_colour():
    colors = jpeg(scenes()[0][0])[:, 256:]
    sure = EDGES.sure(colors)
    assert 0.5 < sure.mean() < 1
    np.testing.assert_array_equal(EDGES.decode(colors)[sure], NEAREST.decode(colors)[sure])


@pytest.mark.parametrize('classes', [30, 60])
def test_class_sets_are_unions_over_windows(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, (11, 19)).astype(np.uint8)
    labels = labels.repeat(2, 0).repeat(2, 1)[:21, :37].copy()  # squares, as sure pixels lie in
    counts = np.bincount(labels[::4, ::4].reshape(-1), minlength=classes)
    sets, where = ClassSets(labels, classes), np.arange(0, labels.size, 4)
    near, wider = sets.near(sets.positions(where)), sets.wider(sets.positions(where))
    members = np.stack(sets.members(near, most=3), 1).tolist()
    for place, small, large, rarest in zip(where, near, wider, members, strict=True):
        y, x = divmod(place, 37)
        windows = (labels[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] for r in (2, 8))
        window, around = map(np.unique, windows)
        assert small == np.bitwise_or.reduce(sets.bits_of(window))
        assert not np.bitwise_or.reduce(sets.bits_of(around)) & ~large
        assert len(set(rarest)) == 3 and set(rarest) <= set(window.tolist())
        assert counts[rarest].tolist() == sorted(counts[window])[:3]
