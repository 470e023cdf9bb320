"""Bootstrap ranges of scores: quantiles over resamples, and no range of too few images."""

import numpy as np
import pytest

from pspnet_plugin.evaluation.areas import areas_of, scores
from pspnet_plugin.toolkit.report.bootstrap import (
    MIN_IMAGES,
    QUANTILES,
    format_range,
    resample,
    score_ranges,
)


def random_areas(images: int, classes: int) -> np.ndarray:
    """(M, 4, K) areas of predictions that are mostly right, different from image to image."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 500, (images, classes))[:, None] * np.eye(classes, dtype=np.int64)
    return np.stack([areas_of(c) for c in right + rng.integers(0, 50, (images, classes, classes))])


def test_resample_draws_as_many_images_with_replacement():
    marks = 10 ** np.arange(12)  # an image for each digit, which counts its draws
    found = resample(np.tile(marks[:, None, None], (1, 4, 2)), count=50)
    assert found.shape == (50, 4, 2) and (found == found[:, :1, :1]).all()
    digits = (found[:, 0, 0].astype(np.int64)[:, None] // marks) % 10
    assert (digits.sum(1) == 12).all() and digits.max() > 1 and (digits == 0).any()
    areas = random_areas(12, 2)
    again, other = (resample(areas, count=50, seed=seed) for seed in (0, 1))
    assert (again == resample(areas, count=50)).all() and (again != other).any()


def test_pixel_counts_stay_exact():
    most = 2**21 * 5000  # 5,000 images of 2 megapixels
    assert (resample(np.full((1, 4, 1), most + 1), count=3) == most + 1).all()


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('images', [1, MIN_IMAGES + 2])  # that hold the last class
def test_ranges_are_quantiles_of_stock_scores(images):
    areas = random_areas(25, 4)
    areas[images:, :, 3] = 0
    areas[:, :, 0] = 0
    resampled = [scores(one) for one in resample(areas)]
    found = score_ranges(areas)
    for key in ('mIoU', 'aAcc'):
        expected = np.percentile([one[key] for one in resampled], QUANTILES)
        assert found[key] == pytest.approx(expected), key
        assert found[key][0] < scores(areas.sum(0))[key] < found[key][1]
    expected = np.percentile([one['IoU'] for one in resampled], QUANTILES, axis=0).T
    expected[3] = np.nan if images < MIN_IMAGES else expected[3]
    assert found['IoU'] == pytest.approx(expected, nan_ok=True)
    assert np.isfinite(found['IoU']).all(1).tolist() == [False, True, True, images > MIN_IMAGES]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    ('areas', 'known'),
    [(random_areas(MIN_IMAGES, 2), True), (random_areas(MIN_IMAGES - 1, 2), False),
     (np.zeros((20, 4, 3), np.int64), False)],
    ids=['enough', 'few', 'unlabelled'],
)  # fmt: skip
def test_few_or_unlabelled_images_have_no_ranges(areas, known):
    assert all((np.isfinite(bounds) == known).all() for bounds in score_ranges(areas).values())


def test_most_ranges_hold_the_score_over_all_images():
    areas = random_areas(2000, 5)
    truth = scores(areas.sum(0))
    rng = np.random.default_rng(0)
    found = [score_ranges(areas[rng.choice(2000, 60, replace=False)]) for _ in range(60)]
    for key in ('mIoU', 'aAcc'):
        held = [low <= truth[key] <= high for low, high in (ranges[key] for ranges in found)]
        assert 50 <= sum(held) < 60, key  # not too narrow, nor so wide that all do


def test_format_range():
    assert format_range(np.array([42.06, 46.94])) == '42.1 to 46.9'
    assert format_range(np.full(2, np.nan)) == '' and format_range(np.zeros(2)) == ''
