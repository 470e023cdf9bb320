"""The metric that names classes: stock's values, those of its table, coverage."""

import math

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from pspnet_plugin.evaluation import ClasswiseIoUMetric

CLASSES = ('road', 'sky', 'train', 'pole')


def samples(count: int, *, ignored: float = 0.25) -> list[dict]:
    """Random predictions and labels; nobody labels or predicts a train."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for number in range(count):
        shape = (1, 8 + number, 10)
        label = torch.tensor([0, 1, 3])[torch.randint(3, shape, generator=generator)]
        wrong = torch.rand(shape, generator=generator) < 0.3
        guess = torch.where(wrong, torch.tensor([3, 0, 0, 1])[label], label)
        label[torch.rand(shape, generator=generator) < ignored] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=label), pred_sem_seg=PixelData(data=guess))
        drawn.append(sample.to_dict())
    return drawn


def scored(metric: IoUMetric, batches: list[list[dict]]) -> dict[str, float]:
    metric.dataset_meta = dict(classes=CLASSES)
    for batch in batches:
        metric.process({}, batch)
    return metric.evaluate(sum(map(len, batches)))


@pytest.mark.parametrize('names', [['mIoU'], ['mIoU', 'mDice']])
def test_stock_values_stay_and_classes_come_with_them(names):
    drawn = samples(5)
    batches = [drawn[:2], drawn[2:]]
    stock = scored(IoUMetric(iou_metrics=names), batches)
    ours = scored(ClasswiseIoUMetric(iou_metrics=names), batches)
    assert {key: ours[key] for key in stock} == stock
    label, guess = (
        torch.cat([sample[key]['data'].flatten() for sample in drawn])
        for key in ('gt_sem_seg', 'pred_sem_seg')
    )
    guess = guess[label != 255]
    assert ours['coverage'] == pytest.approx(100 * len(guess) / len(label), abs=0.01)
    label = label[label != 255]
    for index in (0, 1, 3):
        both = ((label == index) & (guess == index)).sum()
        either = ((label == index) | (guess == index)).sum()
        assert ours[f'IoU.{CLASSES[index]}'] == pytest.approx(float(100 * both / either), abs=0.01)
        assert 0 < ours[f'IoU.{CLASSES[index]}'] < 100
    assert math.isnan(ours['IoU.train'])
    assert ('Dice.road' in ours) == ('mDice' in names)


def test_predictions_that_are_only_written_are_not_scored(tmp_path):
    drawn = [dict(sample, img_path=f'{i}.jpg') for i, sample in enumerate(samples(2))]
    metric = ClasswiseIoUMetric(format_only=True, output_dir=str(tmp_path))
    assert scored(metric, [drawn]) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['0.png', '1.png']
