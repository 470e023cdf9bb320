"""Edge-aware decoding of shrunk, JPEG-coded label pictures, against the maps behind them."""

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.class_sets import ClassBits, ClassSets
from pspnet_plugin.toolkit.synthetic import render_pair, street_scene

PALETTE, VOID = CITYSCAPES['palette'], CITYSCAPES['void_palette']
INDEX = {name: i for i, name in enumerate(CITYSCAPES['classes'])}
ROAD, BUILDING, POLE, SKY, PERSON, CAR, TRUCK = (
    INDEX[name] for name in ('road', 'building', 'pole', 'sky', 'person', 'car', 'truck')
)
EDGES = LabelDecoder(PALETTE, void_palette=VOID)


def coded(labels, size, *, quality=95, palette=PALETTE):
    """A label picture as the real ones were made: shrunk with interpolation, JPEG, 4:2:0."""
    small = cv2.resize(coloured(labels, palette), size, interpolation=cv2.INTER_AREA)
    options = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip
    return cv2.imdecode(cv2.imencode('.jpg', small, options)[1], cv2.IMREAD_COLOR)


def scores(decoder, quality):
    """Coverage, accuracy of what is kept, and share of phantoms, over generated scenes."""
    kept, right, phantom = [], [], []
    for seed in range(200, 206):
        pair, truth = render_pair(*street_scene(np.random.default_rng(seed)))
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        colors = cv2.imdecode(cv2.imencode('.jpg', pair, options)[1], cv2.IMREAD_COLOR)[:, 256:]
        labels = decoder.decode(colors)
        known = truth != 255
        kept.append((labels[known] != 255).mean())
        right.append((labels == truth)[known & (labels != 255)].mean())
        phantom.append((~np.isin(labels, [*np.unique(truth), 255])).mean())
    return np.mean(kept), np.mean(right), np.mean(phantom)


@pytest.mark.parametrize('quality', [95, 75])
def test_better_than_distance_thresholds_that_keep_as_much(quality):
    coverage, accuracy, phantom = scores(EDGES, quality)
    assert phantom < 0.001
    thresholds = (30, 40, 60, None)
    for distance in thresholds:
        nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=distance)
        other = scores(nearest, quality)
        assert coverage > other[0] or distance in (60, None), other
        assert accuracy > other[1] and phantom < other[2], other


def test_confidence_trades_pixels_for_accuracy():
    low, high = (
        scores(LabelDecoder(PALETTE, void_palette=VOID, min_confidence=share), 75)
        for share in (0.6, 0.95)
    )
    assert low[0] > high[0] and low[1] < high[1]


@pytest.mark.parametrize('distance, confidence', [(60, 0.5), (30, 0.8), (10, 0.995), (5, 1)])
def test_some_confidence_is_better_in_everything(distance, confidence):
    nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=distance)
    other = scores(nearest, 75)
    decoder = LabelDecoder(PALETTE, void_palette=VOID, min_confidence=confidence)
    coverage, accuracy, phantom = scores(decoder, 75)
    assert coverage > other[0] and accuracy > other[1] and phantom <= other[2]


def test_no_phantoms_along_an_edge():
    """Nearest colour finds walls and trucks between road and car; the rule finds neither."""
    y, x = np.mgrid[:512, :512]
    labels = np.where(y > 0.37 * x + 150, ROAD, CAR).astype(np.uint8)
    picture = coded(labels, (128, 128))
    found = set(np.unique(EDGES.decode(picture)))
    nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=None)
    assert set(np.unique(nearest.decode(picture))) - {ROAD, CAR, 255}
    assert found <= {ROAD, CAR, 255}
    truth = labels[2::4, 2::4]
    decoded = EDGES.decode(picture)
    assert (decoded == truth).mean() > 0.98
    assert (decoded == 255).mean() < 0.02


@pytest.mark.parametrize('offset', range(4))
def test_thin_poles_are_not_eaten(offset):
    """Poles of three quarters of a pixel, at any place within it, that widen nowhere."""
    labels = np.full((512, 512), BUILDING, np.uint8)
    labels[:200] = SKY
    for x in range(64, 480, 64):
        labels[100:400, x + offset : x + offset + 7] = POLE
    decoded = EDGES.decode(coded(labels, (128, 128)))
    rows = decoded[30:95]
    assert all(
        (rows[:, x // 4 : x // 4 + 3] == POLE).any(1).mean() > 0.9 for x in range(64, 480, 64)
    )
    assert set(np.unique(decoded)) <= {BUILDING, SKY, POLE, 255}


FACADES = [
    (0, 0, 170), (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (85, 255, 170),
    (170, 255, 85), (255, 255, 0), (255, 170, 0), (255, 85, 0), (255, 0, 0), (170, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize('quality', [95, 75])
@pytest.mark.parametrize(
    ('palette', 'thing', 'ground'),
    [
        (PALETTE, 'person', 'building'), (PALETTE, 'traffic sign', 'sky'),
        (PALETTE, 'traffic light', 'building'), (PALETTE, 'rider', 'road'),
        (PALETTE, 'pole', 'vegetation'), (PALETTE, 'bicycle', 'sidewalk'),
        (FACADES, 9, 1), (FACADES, 5, 1), (FACADES, 11, 1), (FACADES, 2, 0),
    ],
)  # fmt: skip
def test_stripes_that_show_their_pure_colour_nowhere_are_found(palette, thing, ground, quality):
    """Three pixels wide, at any place within a pixel, with nothing of the class elsewhere."""
    thing, ground = INDEX.get(thing, thing), INDEX.get(ground, ground)
    void = VOID if palette is PALETTE else []
    right = wrong = 0
    for offset in range(4):
        labels = np.full((512, 512), ground, np.uint8)
        for x in range(64, 480, 128):
            labels[:, x + offset : x + offset + 12] = thing
        decoded = LabelDecoder(palette, void_palette=void).decode(
            coded(labels, (128, 128), quality=quality, palette=palette)
        )
        stripes = labels[2::4, 2::4] == thing
        right += (decoded == thing)[stripes].mean() / 4
        wrong += (~np.isin(decoded, [thing, ground, 255])).mean() / 4
    assert right > 0.6
    assert wrong < 0.02


def test_few_pixels_of_a_class_that_is_sure_nowhere_are_a_coincidence():
    picture = np.full((64, 64, 3), PALETTE[ROAD][::-1], np.uint8)
    picture[10, 10:15] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(picture))) == {ROAD, 255}
    picture[20:23, 10:30] = np.array(PALETTE[TRUCK][::-1]) + 5
    assert set(np.unique(EDGES.decode(picture))) == {ROAD, TRUCK}


def test_void_colours_take_part_and_end_as_255():
    labels = np.full((256, 256), 0, np.uint8)
    labels[:, 128:] = 1
    palette = [PALETTE[ROAD], VOID[1]]
    decoded = LabelDecoder(palette[:1], void_palette=palette[1:]).decode(
        coded(labels, (64, 64), palette=palette)
    )
    assert (decoded[:, :31] == 0).all()
    assert (decoded[:, 33:] == 255).all()


def test_colours_of_another_palette_decode_by_metainfo_alone():
    palette = [(0, 0, 170), (0, 0, 255), (0, 85, 255), (0, 170, 255), (85, 255, 170)]
    rng = np.random.default_rng(0)
    labels = np.zeros((512, 512), np.uint8)
    for _ in range(60):
        y, x, h, w = rng.integers((0, 0, 20, 8), (480, 480, 90, 60))
        labels[y : y + h, x : x + w] = rng.integers(5)
    decoded = LabelDecoder(palette).decode(coded(labels, (128, 128), palette=palette))
    truth = labels[2::4, 2::4]
    assert (decoded == 255).mean() < 0.05
    assert (decoded == truth)[decoded != 255].mean() > 0.98


def test_more_classes_than_a_number_has_bits():
    rng = np.random.default_rng(1)
    levels = np.arange(0, 250, 48)
    palette = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)[:200].tolist()
    labels = np.kron(rng.permutation(200).reshape(10, 20).astype(np.uint8), np.ones((40, 40), 'u1'))
    picture = coded(labels, (200, 100), palette=palette)
    decoded = LabelDecoder(palette).decode(picture)
    truth = labels[2::4, 2::4]
    nearest = LabelDecoder(palette, rule='nearest').decode(picture)
    assert len(np.unique(truth)) == 200
    assert (decoded != 255).mean() > 0.75
    assert (decoded == truth)[decoded != 255].mean() > (nearest == truth)[nearest != 255].mean()


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 1), (2, 3), (37, 61), (300, 513)], ids=str)
def test_any_size_and_any_noise_decodes(size):
    rng = np.random.default_rng(0)
    decoder = LabelDecoder(PALETTE, void_palette=VOID, min_explained=0)
    for picture in (rng.integers(0, 256, (*size, 3), 'u1'), np.full((*size, 3), 128, 'u1')):
        decoded = decoder.decode(picture)
        assert decoded.shape == size and decoded.dtype == np.uint8
        assert decoded.max() < 19 or (decoded[decoded >= 19] == 255).all()
        np.testing.assert_array_equal(decoded, decoder.decode(picture))


def test_sure_pixels_keep_their_colours_class():
    pair, _ = render_pair(*street_scene(np.random.default_rng(300)))
    colors = cv2.imdecode(cv2.imencode('.jpg', pair)[1], cv2.IMREAD_COLOR)[:, 256:]
    sure = EDGES.sure(colors)
    nearest = LabelDecoder(PALETTE, void_palette=VOID, rule='nearest', max_distance=None)
    assert 0.5 < sure.mean() < 1
    np.testing.assert_array_equal(EDGES.decode(colors)[sure], nearest.decode(colors)[sure])


@pytest.mark.parametrize('classes', [30, 60])
def test_sets_are_unions_over_windows(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, (11, 19)).astype(np.uint8)
    labels = labels.repeat(2, 0).repeat(2, 1)[:21, :37].copy()  # squares, as sure pixels lie in
    bits = ClassBits(labels, classes)
    sets = ClassSets(bits.of(labels))
    where = rng.choice(labels.size, 200, replace=False)
    near, wider = sets.near(sets.places(where)), sets.wider(sets.places(where))
    for place, small, large in zip(where, near, wider, strict=True):
        y, x = divmod(place, 37)
        window = labels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        expected = np.bitwise_or.reduce(bits.of(np.unique(window)))
        assert small == expected
        assert large & small == small
        close = labels[max(0, y - 8) : y + 9, max(0, x - 8) : x + 9]
        covered = np.bitwise_or.reduce(bits.of(np.unique(close)))
        assert large & covered == covered
        listed = [
            int(slot) for slot in np.stack(bits.members(small[None], most=3))[:, 0] if slot != 255
        ]
        counts = np.bincount(labels[::4, ::4].reshape(-1), minlength=classes)
        rare = sorted(np.unique(window).tolist(), key=lambda c: counts[c])
        assert counts[listed].tolist() == counts[rare[:3]].tolist()
        assert len(set(listed)) == 3 and set(listed) <= set(rare)
