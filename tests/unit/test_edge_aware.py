"""Edge-aware decoding of shrunk, JPEG-coded label images, against the maps behind them."""

from functools import lru_cache

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import FACADES
from pspnet_plugin.labels.surroundings import ClassSets
from pspnet_plugin.toolkit.synthetic import render_pair, street_scene

PALETTE, VOID = CITYSCAPES['palette'], CITYSCAPES['void_palette']
INDEX = {name: i for i, name in enumerate(CITYSCAPES['classes'])}
ROAD, BUILDING, POLE, SKY, CAR, TRUCK = (
    INDEX[name] for name in ('road', 'building', 'pole', 'sky', 'car', 'truck')
)
EDGES = LabelDecoder(PALETTE, void_palette=VOID)


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


@pytest.mark.parametrize('quality', [95, 75])
def test_default_beats_nearest_colours_that_keep_as_much(quality):
    coverage, accuracy, phantom = scores(quality)
    assert phantom < 0.001
    for limit in (40, None):
        other = scores(quality, rule='nearest', max_distance=limit)
        assert coverage > other[0] or limit is None
        assert accuracy > other[1] and phantom < other[2]


@pytest.mark.parametrize('limit, confidence', [(60, 0.5), (30, 0.8), (10, 0.995), (5, 1)])
def test_some_confidence_is_better_in_everything(limit, confidence):
    other = scores(75, rule='nearest', max_distance=limit)
    coverage, accuracy, phantom = scores(75, min_confidence=confidence)
    assert coverage > other[0] and accuracy > other[1] and phantom <= other[2]


def test_confidence_trades_pixels_for_accuracy():
    low, high = (scores(75, min_confidence=share) for share in (0.6, 0.95))
    assert low[0] > high[0] and low[1] < high[1]


def test_no_phantoms_along_an_edge():
    """Nearest colours find third classes between road and car."""
    y, x = np.mgrid[:512, :512]
    labels = np.where(y > 0.37 * x + 150, ROAD, CAR).astype(np.uint8)
    image = coded(labels)
    nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=None)
    assert set(np.unique(nearest.decode(image))) - {ROAD, CAR, 255}
    decoded = EDGES.decode(image)
    assert set(np.unique(decoded)) <= {ROAD, CAR, 255}
    assert (decoded == labels[2::4, 2::4]).mean() > 0.98
    assert (decoded == 255).mean() < 0.02


@pytest.mark.parametrize('offset', range(4))
def test_thin_poles_stay_connected(offset):
    """Poles 1.75 pixels wide, at any place within a pixel, that widen nowhere."""
    labels = np.full((512, 512), BUILDING, np.uint8)
    labels[:200] = SKY
    poles = range(64, 480, 64)
    for x in poles:
        labels[100:400, x + offset : x + offset + 7] = POLE
    decoded = EDGES.decode(coded(labels))
    rows = decoded[30:95]
    assert all((rows[:, x // 4 : x // 4 + 3] == POLE).any(1).mean() > 0.9 for x in poles)
    assert set(np.unique(decoded)) <= {BUILDING, SKY, POLE, 255}


@pytest.mark.parametrize(
    ('palette', 'thing', 'ground', 'quality'),
    [
        (PALETTE, 'person', 'building', 95), (PALETTE, 'traffic sign', 'sky', 75),
        (PALETTE, 'traffic light', 'building', 75), (PALETTE, 'rider', 'road', 95),
        (PALETTE, 'pole', 'vegetation', 95), (PALETTE, 'bicycle', 'sidewalk', 75),
        (FACADES['palette'], 9, 1, 75), (FACADES['palette'], 5, 1, 95),
        (FACADES['palette'], 2, 0, 95),
    ],
)  # fmt: skip
def test_stripes_that_show_their_pure_colour_nowhere_are_found(palette, thing, ground, quality):
    """Three pixels wide, at any place within a pixel, with nothing of the class elsewhere."""
    thing, ground = INDEX.get(thing, thing), INDEX.get(ground, ground)
    decoder = LabelDecoder(palette, void_palette=VOID if palette is PALETTE else [])
    right = wrong = 0
    for offset in range(4):
        labels = np.full((512, 512), ground, np.uint8)
        for x in range(64, 480, 128):
            labels[:, x + offset : x + offset + 12] = thing
        decoded = decoder.decode(coded(labels, quality=quality, palette=palette))
        stripes = labels[2::4, 2::4] == thing
        right += (decoded == thing)[stripes].mean() / 4
        wrong += (~np.isin(decoded, [thing, ground, 255])).mean() / 4
    assert right > 0.6
    assert wrong < 0.02


def test_few_pixels_of_a_class_that_is_sure_nowhere_are_a_coincidence():
    image = np.full((64, 64, 3), PALETTE[ROAD][::-1], np.uint8)
    image[10, 10:15] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(image))) == {ROAD, 255}
    image[20:23, 10:30] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(image))) == {ROAD, TRUCK}


def test_void_colours_take_part_and_end_as_255():
    labels = np.zeros((256, 256), np.uint8)
    labels[:, 128:] = 1
    colors = [PALETTE[ROAD], VOID[1]]
    decoder = LabelDecoder(colors[:1], void_palette=colors[1:])
    decoded = decoder.decode(coded(labels, palette=colors))
    assert (decoded[:, :31] == 0).all()
    assert (decoded[:, 33:] == 255).all()


def test_more_classes_than_a_number_has_bits():
    rng = np.random.default_rng(1)
    levels = np.arange(0, 250, 48)
    palette = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)[:80].tolist()
    labels = np.kron(rng.permutation(80).reshape(8, 10).astype(np.uint8), np.ones((40, 40), 'u1'))
    image, truth = coded(labels, palette=palette), labels[2::4, 2::4]
    decoded = LabelDecoder(palette).decode(image)
    nearest = LabelDecoder(palette, rule='nearest').decode(image)
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
    nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=None)
    assert 0.5 < sure.mean() < 1
    np.testing.assert_array_equal(EDGES.decode(colors)[sure], nearest.decode(colors)[sure])


@pytest.mark.parametrize('classes', [30, 60])
def test_class_sets_are_unions_over_windows(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, (11, 19)).astype(np.uint8)
    labels = labels.repeat(2, 0).repeat(2, 1)[:21, :37].copy()  # squares, as sure pixels lie in
    counts = np.bincount(labels[::4, ::4].reshape(-1), minlength=classes)
    sets = ClassSets(labels, classes)
    where = rng.choice(labels.size, 200, replace=False)
    near, wider = sets.near(sets.positions(where)), sets.wider(sets.positions(where))
    members = np.stack(sets.members(near, most=3), 1).tolist()
    for place, small, large, rarest in zip(where, near, wider, members, strict=True):
        y, x = divmod(place, 37)
        window = np.unique(labels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3])
        assert small == np.bitwise_or.reduce(sets.bits_of(window))
        assert large & small == small
        close = np.unique(labels[max(0, y - 8) : y + 9, max(0, x - 8) : x + 9])
        covered = np.bitwise_or.reduce(sets.bits_of(close))
        assert large & covered == covered
        assert len(set(rarest)) == 3 and set(rarest) <= set(window.tolist())
        assert counts[rarest].tolist() == sorted(counts[window])[:3]
