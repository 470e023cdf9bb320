"""Ranges of scores: a bootstrap over the pictures, which says how far it can be trusted."""

import re
import shutil
import warnings

import numpy as np
import pytest
from helpers.programs import load_tool

from pspnet_plugin.evaluation.areas import areas_of, scores
from pspnet_plugin.toolkit.report import bootstrap as ranges
from pspnet_plugin.toolkit.report import page as report_page
from pspnet_plugin.toolkit.report.bootstrap import BOUNDS, FEWEST, in_words, ranges_of, resample
from pspnet_plugin.toolkit.report.evaluation import Examined
from pspnet_plugin.toolkit.report.page import weakest

TOOL = 'analysis_tools/report.py'


def confusions(pictures: int, classes: int, *, seed: int = 0) -> np.ndarray:
    """(M, K, K) counts, of which a good part is right, different from picture to picture."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 50, (pictures, classes, classes))
    right = rng.integers(0, 500, (pictures, classes))
    return found + right[:, None] * np.eye(classes, dtype=np.int64)


def areas(pictures: int, classes: int, *, seed: int = 0) -> np.ndarray:
    found = confusions(pictures, classes, seed=seed)
    return np.stack([areas_of(one) for one in found])


def test_a_resample_is_a_set_of_as_many_of_the_pictures():
    marks = 10 ** np.arange(12)  # each picture by a digit, which counts how often it is drawn
    found = resample(np.tile(marks[:, None, None], (1, 4, 2)), count=50)
    assert found.shape == (50, 4, 2) and (found == found[:, :1, :1]).all()
    digits = (found[:, 0, 0].astype(np.int64)[:, None] // marks) % 10
    assert (digits.sum(1) == 12).all() and digits.max() > 1 and (digits == 0).any()
    again, other = (resample(areas(12, 2), count=50, seed=seed) for seed in (0, 1))
    assert (again == resample(areas(12, 2), count=50)).all() and (again != other).any()


def test_counts_of_pixels_stay_exact():
    most = 2**21 * 5000  # of 5,000 pictures of 2 megapixels
    given = np.full((1, 4, 1), most + 1)
    assert (resample(given, count=3) == most + 1).all()


def test_ranges_are_quantiles_of_the_scores_of_resamples():
    given = areas(25, 4)
    given[:, :, 3] *= np.arange(25)[:, None] < 12  # in half of the pictures
    drawn = [scores(one) for one in resample(given)]
    found = ranges_of(given)
    for key in ('mIoU', 'aAcc'):
        expected = np.percentile([one[key] for one in drawn], BOUNDS)
        assert getattr(found, key) == pytest.approx(expected), key
        low, high = getattr(found, key)
        assert low < scores(given.sum(0))[key] < high
    expected = np.percentile([one['IoU'] for one in drawn], BOUNDS, axis=0).T
    assert found.iou == pytest.approx(expected) and found.iou.shape == (4, 2)


def test_a_class_that_is_absent_in_resamples_does_not_count_there():
    given = areas(FEWEST + 2, 3)
    given[FEWEST:, :, 2] = 0  # nowhere, but in ten
    given[:, :, 1] = 0  # nowhere at all
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = ranges_of(given)
        few = given.copy()
        few[1:, :, 2] = 0  # absent in a third of the resamples
        rare = ranges_of(few)
    assert np.isnan(found.iou[1]).all() and np.isfinite(found.iou[[0, 2]]).all()
    assert np.isnan(rare.iou[2]).all(), 'of one picture nothing is promised'
    assert np.isfinite(rare.mIoU).all() and np.isfinite(rare.aAcc).all()
    drawn = [scores(one)['mIoU'] for one in resample(few)]
    assert rare.mIoU == pytest.approx(np.percentile(drawn, BOUNDS))


def test_of_few_pictures_and_of_nothing_there_are_no_ranges():
    enough, few = ranges_of(areas(FEWEST, 2)), ranges_of(areas(FEWEST - 1, 2))
    assert np.isfinite([enough.mIoU, enough.aAcc]).all()
    assert np.isnan([few.mIoU, few.aAcc]).all() and np.isnan(few.iou).all()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        empty = ranges_of(np.zeros((20, 4, 3), np.int64))
    assert np.isnan([empty.mIoU, empty.aAcc]).all()


def test_most_ranges_hold_the_score_over_all_pictures():
    given = areas(2000, 5)
    truth = scores(given.sum(0))
    rng = np.random.default_rng(0)
    found = [ranges_of(given[rng.choice(2000, 60, replace=False)]) for _ in range(60)]
    for key in ('mIoU', 'aAcc'):
        held = [low <= truth[key] <= high for low, high in (getattr(r, key) for r in found)]
        assert 50 <= sum(held) < 60, key  # neither too narrow, nor so wide that all do


def test_ranges_in_words():
    assert in_words(np.array([42.06, 46.94])) == '42.1 to 46.9'
    assert in_words(np.full(2, np.nan)) == '' and in_words(np.zeros(2)) == ''


def test_the_weakest_classes_have_ranges_and_numbers_of_pictures():
    given = confusions(15, 3)
    given[12:, 1] = 0  # not labelled in three
    given[3:, 2] = 0  # labelled in three
    found = Examined(
        [str(i) for i in range(15)], given.sum(0), np.stack(list(map(areas_of, given))), 1
    )
    told = {one.label: one for one in weakest(found, ['road', 'pole', 'train'])}
    assert {label: one.pictures for label, one in told.items()} == dict(road=15, pole=12, train=3)
    for index, label in enumerate(('road', 'pole')):
        low, high = ranges_of(found.areas).iou[index]
        assert told[label].range == f'{low:.1f} to {high:.1f}'
    assert told['train'].range == ''


@pytest.mark.parametrize(('enough', 'count'), [(3, 2), (4, 1)], ids=['enough, two runs', 'few'])
def test_the_page_shows_ranges_and_says_what_they_are(
    trained, tmp_path, monkeypatch, enough, count
):
    for module in (ranges, report_page):  # the set has three pictures
        monkeypatch.setattr(module, 'FEWEST', 2)
    monkeypatch.setattr(report_page, 'ENOUGH', enough)
    out = tmp_path / 'report.html'
    # Of two steps, whose weakest classes are never right.
    monkeypatch.setattr(report_page, 'in_words', lambda bounds: f'42.1 to 4{len(bounds)}.9')
    runs = [str(trained), shutil.copytree(trained, tmp_path / 'other')][:count]
    assert load_tool(TOOL).main([*map(str, runs), '--pictures', '1', '--out', str(out)]) == 0
    page = ' '.join(out.read_text().split())
    for name in ('mIoU', 'pixel accuracy'):
        assert page.count(f'</b>{name}<small>42.1 to 42.9</small></div>') == count, name
    assert len(re.findall(r'\d+\.\d<br><small>42.1 to 42.9</small></td>', page)) == 3 * count
    for text in (
        '1,000 times, 3 pictures were drawn', 'the middle 95 % of the scores',
        'how far it would vary with other trainings', 'neighbouring frames of one walk or video',
    ):  # fmt: skip
        assert text in page, text
    assert ('for fewer than 4 pictures, as here,' in page) == (enough == 4)
    assert ('for classes that are in few pictures.' in page) == (enough == 3)
    assert ('where ranges overlap' in page) == (count == 2)
    assert 'is not said' not in page
