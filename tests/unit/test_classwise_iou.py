"""The metric that names classes: stock's values, those of its table, coverage."""

import math

import pytest
import torch
from helpers.pairs import build
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


def test_labels_of_pairs_are_read_by_a_rule_of_its_own(demo_root):
    """A pass over the set is scored by several rules, each as if the set were read by it."""
    rules = dict(
        nearest=dict(rule='nearest', max_distance=40), all=dict(rule='nearest', max_distance=None)
    )

    def sampled(**decode):
        dataset = build(demo_root, 'val', decode=decode)
        drawn = []
        for i in range(len(dataset)):
            sample = dataset[i]['data_samples']
            guess = sample.gt_sem_seg.data.clone()
            guess[:, :100] = 0
            guess[guess == 255] = 1
            sample.pred_sem_seg = PixelData(data=guess)
            drawn.append(sample.to_dict())
        return drawn, dataset.metainfo

    drawn, meta = sampled(rule='edge_aware')
    metric = ClasswiseIoUMetric(decode=rules['nearest'], also=dict(all=rules['all']))
    metric.dataset_meta = meta
    metric.process({}, drawn[:1])
    metric.process({}, drawn[1:])
    values = metric.evaluate(len(drawn))
    for name, prefix in (('nearest', ''), ('all', 'all/')):
        truth, _ = sampled(**rules[name])
        plain = ClasswiseIoUMetric()
        plain.dataset_meta = meta
        own = [
            {**sample, 'pred_sem_seg': other['pred_sem_seg']}
            for sample, other in zip(truth, drawn, strict=True)
        ]
        plain.process({}, own)
        for key, value in plain.evaluate(len(drawn)).items():
            assert values[prefix + key] == value
    assert values['all/coverage'] > values['coverage'] > 80
    assert values['all/mIoU'] != values['mIoU']


def test_predictions_are_written_once_whatever_the_rules(demo_root, tmp_path):
    dataset = build(demo_root, 'val')
    sample = dataset[0]['data_samples']
    sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.clamp(max=1))
    metric = ClasswiseIoUMetric(also=dict(nearest=dict(rule='nearest')), output_dir=str(tmp_path))
    metric.dataset_meta = dataset.metainfo
    for _ in range(2):
        metric.process({}, [sample.to_dict()])
    assert len(list(tmp_path.iterdir())) == 1 and metric.output_dir == str(tmp_path)
    assert metric.evaluate(2)['nearest/aAcc'] > 0


def test_a_rule_of_its_own_follows_a_subset_of_the_classes(demo_root):
    dataset = build(demo_root, 'val', metainfo=dict(classes=('sky', 'road')))
    sample = dataset[0]['data_samples']
    sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.clamp(max=1))
    metric = ClasswiseIoUMetric(decode=dict(rule='edge_aware'))
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample.to_dict()])
    values = metric.evaluate(1)
    assert values['mIoU'] == 100 and {'IoU.sky', 'IoU.road'} < set(values)


def test_labels_that_are_no_pairs_own_are_refused(demo_root):
    sample = build(demo_root, 'val')[0]['data_samples']
    sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data)
    metric = ClasswiseIoUMetric(decode=dict(rule='nearest'))
    metric.dataset_meta = dict(classes=CLASSES)
    other = sample.to_dict()
    other['gt_sem_seg'] = dict(data=sample.gt_sem_seg.data[:, :100])
    with pytest.raises(ValueError, match='labels of .256, 256. pixels are scored as .100, 256.'):
        metric.process({}, [other])
    plain = sample.to_dict()
    plain['seg_map_path'] = 'labels/1.png'
    with pytest.raises(ValueError, match='labels/1.png.: expected pair-label'):
        metric.process({}, [plain])
    metric.rules = {'': dict(rle='nearest')}
    with pytest.raises(ValueError, match="decode={'rle': 'nearest'}"):
        metric.process({}, [sample.to_dict()])
