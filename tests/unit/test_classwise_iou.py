"""The metric returns stock's values, each class by name, and several rules in one pass."""

import math

import pytest
import torch
from helpers.pairs import build
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from pspnet_plugin.evaluation import ClasswiseIoUMetric

CLASSES = ('road', 'sky', 'train', 'pole')


def samples(count: int) -> list[dict]:
    """Random predictions and labels; nobody labels or predicts a train."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for number in range(count):
        shape = (1, 8 + number, 10)
        label = torch.tensor([0, 1, 3])[torch.randint(3, shape, generator=generator)]
        wrong = torch.rand(shape, generator=generator) < 0.3
        guess = torch.where(wrong, torch.tensor([3, 0, 0, 1])[label], label)
        label[torch.rand(shape, generator=generator) < 0.25] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=label), pred_sem_seg=PixelData(data=guess))
        drawn.append(sample.to_dict())
    return drawn


def scored(metric: IoUMetric, *batches: list[dict], meta=None) -> dict[str, float]:
    metric.dataset_meta = meta or dict(classes=CLASSES)
    for batch in batches:
        metric.process({}, batch)
    return metric.evaluate(sum(map(len, batches)))


def predicted(dataset, guess=lambda labels: labels.clamp(max=1)) -> list[dict]:
    """The samples of a dataset with predictions made from their labels."""
    drawn = [dataset[i]['data_samples'] for i in range(len(dataset))]
    for sample in drawn:
        sample.pred_sem_seg = PixelData(data=guess(sample.gt_sem_seg.data.clone()))
    return [sample.to_dict() for sample in drawn]


@pytest.mark.parametrize('names', [['mIoU'], ['mIoU', 'mDice']])
def test_stock_values_stay_and_classes_come_with_them(names):
    drawn = samples(5)
    stock = scored(IoUMetric(iou_metrics=names), drawn[:2], drawn[2:])
    ours = scored(ClasswiseIoUMetric(iou_metrics=names), drawn[:2], drawn[2:])
    assert {key: ours[key] for key in stock} == stock
    label, guess = (
        torch.cat([sample[key]['data'].flatten() for sample in drawn])
        for key in ('gt_sem_seg', 'pred_sem_seg')
    )
    known = label != 255
    assert ours['coverage'] == pytest.approx(100 * float(known.float().mean()), abs=0.01)
    label, guess = label[known], guess[known]
    for index in (0, 1, 3):
        both = ((label == index) & (guess == index)).sum()
        either = ((label == index) | (guess == index)).sum()
        assert ours[f'IoU.{CLASSES[index]}'] == pytest.approx(float(100 * both / either), abs=0.01)
        assert 0 < ours[f'IoU.{CLASSES[index]}'] < 100
    assert math.isnan(ours['IoU.train'])
    assert ('Dice.road' in ours) == ('mDice' in names)


def test_format_only_writes_predictions_without_scores(tmp_path):
    drawn = [dict(sample, img_path=f'{i}.jpg') for i, sample in enumerate(samples(2))]
    metric = ClasswiseIoUMetric(format_only=True, output_dir=str(tmp_path))
    assert scored(metric, drawn) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['0.png', '1.png']


def test_each_rule_scores_as_a_dataset_decoded_by_it(demo_root):
    rules = dict(
        nearest=dict(rule='nearest', max_distance=40), all=dict(rule='nearest', max_distance=None)
    )

    def guess(labels):
        labels[:, :100] = 0
        labels[labels == 255] = 1
        return labels

    dataset = build(demo_root, 'val', decode=dict(rule='edge_aware'))
    drawn = predicted(dataset, guess)
    metric = ClasswiseIoUMetric(decode=rules['nearest'], also=dict(all=rules['all']))
    values = scored(metric, drawn[:1], drawn[1:], meta=dataset.metainfo)
    for name, prefix in dict(nearest='', all='all/').items():
        truth = predicted(build(demo_root, 'val', decode=rules[name]), guess)
        for sample, other in zip(truth, drawn, strict=True):
            sample['pred_sem_seg'] = other['pred_sem_seg']
        plain = scored(ClasswiseIoUMetric(), truth, meta=dataset.metainfo)
        assert plain and {key: values[prefix + key] for key in plain} == plain
    assert values['all/coverage'] > values['coverage'] > 80
    assert values['all/mIoU'] != values['mIoU']


def test_predictions_are_written_once_whatever_the_rules(demo_root, tmp_path):
    dataset = build(demo_root, 'val')
    drawn = predicted(dataset)[:1]
    metric = ClasswiseIoUMetric(also=dict(nearest=dict(rule='nearest')), output_dir=str(tmp_path))
    values = scored(metric, drawn, drawn, meta=dataset.metainfo)
    assert len(list(tmp_path.iterdir())) == 1 and metric.output_dir == str(tmp_path)
    assert values['nearest/aAcc'] > 0


def test_rule_follows_a_subset_of_the_classes(demo_root):
    dataset = build(demo_root, 'val', metainfo=dict(classes=('sky', 'road')))
    metric = ClasswiseIoUMetric(decode=dict(rule='edge_aware'))
    values = scored(metric, predicted(dataset)[:1], meta=dataset.metainfo)
    assert values['mIoU'] == 100 and {'IoU.sky', 'IoU.road'} < set(values)


@pytest.mark.parametrize(
    ('change', 'rule', 'named'),
    [
        (dict(gt_sem_seg=dict(data=torch.zeros(1, 100, 256))), 'rule', '256, 256.*100, 256'),
        (dict(seg_map_path='labels/1.png'), 'rule', 'labels/1.png'),
        ({}, 'rle', "{'rle': 'nearest'}"),
    ],
    ids=['cropped', 'no pair', 'typo'],
)
def test_labels_that_no_rule_can_decode_are_refused(demo_root, change, rule, named):
    sample = predicted(build(demo_root, 'val'))[0]
    with pytest.raises(ValueError, match=named):
        scored(ClasswiseIoUMetric(decode={rule: 'nearest'}), [{**sample, **change}])
