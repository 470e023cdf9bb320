"""Scores, weakest classes and examples that a report derives from pixel counts."""

import numpy as np
import pytest
from helpers.predictors import EchoNetwork, predictor_of
from helpers.programs import load_tool
from mmengine.config import Config

from pspnet_plugin.evaluation.areas import areas_of
from pspnet_plugin.toolkit.prediction.sources import InputImage
from pspnet_plugin.toolkit.report.bootstrap import format_range
from pspnet_plugin.toolkit.report.evaluation import Evaluation, evaluate
from pspnet_plugin.toolkit.report.page import differing_settings, weakest_classes

CLASSES = ['road', 'pole', 'train']
# Three images by truth (rows) and prediction: all right, half right, no pole right.
CONFUSIONS = np.array(
    [[[90, 0, 0], [0, 10, 0], [0, 0, 0]],
     [[50, 0, 0], [20, 30, 0], [0, 0, 0]],
     [[80, 0, 0], [18, 0, 2], [0, 0, 0]]]
)  # fmt: skip


def evaluation_of(confusions: np.ndarray, *, pixels: int = 400) -> Evaluation:
    names = [f'{i}.png' for i in range(len(confusions))]
    return Evaluation(names, confusions.sum(0), np.stack([*map(areas_of, confusions)]), pixels)


def test_scores():
    evaluation = evaluation_of(CONFUSIONS)
    assert evaluation.scores['IoU'] == pytest.approx([100 * 220 / 258, 50, 0])
    assert evaluation.scores['aAcc'] == pytest.approx(100 * 260 / 300)
    assert evaluation.coverage == 75
    assert evaluation.rank_images() == [2, 1, 0]
    assert evaluation.image_miou(0) == 100
    assert evaluation.image_miou(1) == pytest.approx(100 * (50 / 70 + 30 / 50) / 2)
    assert (evaluation.most_missed(0), evaluation.most_missed(1)) == (None, 1)


def test_unlabelled_images_have_no_scores():
    empty = evaluation_of(np.zeros((1, 2, 2), np.int64))
    assert np.isnan(empty.scores['IoU']).all() and np.isnan(empty.scores['mIoU'])
    assert np.isnan(empty.image_miou(0)) and empty.rank_images() == []


def test_a_set_without_a_labelled_pixel_is_refused():
    class Unlabelled(list):
        classes = ('road', 'sky')

    empty = np.full((2, 2), 255, np.uint8)
    images = Unlabelled([InputImage('a', np.zeros((2, 2, 3), np.uint8), empty)])
    with pytest.raises(ValueError, match=' 1 '):
        evaluate(predictor_of(EchoNetwork(classes=images.classes)), images)


def test_weakest_classes():
    first, second = weakest_classes(evaluation_of(CONFUSIONS), CLASSES)  # no train is labelled
    assert (first.label, first.index, first.images, first.iou) == ('pole', 1, 3, 50)
    assert first.share == pytest.approx(100 * 80 / 300)
    assert (first.recall, first.precision) == (50, 100)
    assert first.confused_with == [('road', 100 * 38 / 80)]  # train: 2 of 80, too few
    assert (first.worst_image, second.worst_image) == (1, None)
    assert (second.label, second.confused_with) == ('road', [])


def test_ranges_of_weakest_classes():
    rng = np.random.default_rng(0)
    confusions = rng.integers(1, 500, (15, 3, 3))
    confusions[12:, 1] = confusions[3:, 2] = 0
    evaluation = evaluation_of(confusions)
    found = {weak.label: weak for weak in weakest_classes(evaluation, CLASSES)}
    assert {label: weak.images for label, weak in found.items()} == dict(road=15, pole=12, train=3)
    for index, label in enumerate(('road', 'pole')):
        assert found[label].range == format_range(evaluation.ranges['IoU'][index]) != ''
    assert found['train'].range == ''


def test_examples_are_the_worst_the_median_and_the_best():
    choose = load_tool('analysis_tools/report.py').choose_examples
    right = [5, 0, 3, 8, 1, 9, 2, 7, 4, 6]
    evaluation = evaluation_of(np.array([[[pixels, 9], [0, 0]] for pixels in right]))
    chosen = [(word, right[index]) for word, index in choose(evaluation, 2)]
    words = ('worst', 'median', 'best')
    assert chosen == list(zip(np.repeat(words, 2), [0, 1, 4, 5, 8, 9], strict=True))
    assert [right[index] for _, index in choose(evaluation, 4)] == list(range(10))


def test_differing_settings():
    configs = [Config(dict(a=[dict(p=0.5), dict(q=1)], seed=0, work_dir=str(i))) for i in range(2)]
    assert differing_settings(configs) == []
    configs[1].a[0].p = 0.25
    configs[1].extra = 'new'
    assert differing_settings(configs) == [('a.0.p', ['0.5', '0.25']), ('extra', ['', "'new'"])]
