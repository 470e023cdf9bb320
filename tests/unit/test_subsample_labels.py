"""Labels at fewer pixels: their places, and the loss of stock heads on them."""

import numpy as np
import pytest
import torch
from helpers.pairs import LOAD, build
from mmseg.registry import MODELS, TRANSFORMS


def subsample(labels, **options):
    transform = TRANSFORMS.build(dict(type='SubsampleLabels', **options))
    return transform(dict(img=None, gt_seg_map=labels, seg_fields=['gt_seg_map']))['gt_seg_map']


@pytest.mark.parametrize(('stride', 'offsets'), [(1, {0}), (2, {0, 1}), (3, {1}), (4, {1, 2})])
def test_samples_lie_in_the_middle_of_their_cells(stride, offsets):
    rows, columns = np.mgrid[:12, :24].astype(np.uint8)
    drawn = set()
    for seed in range(20):
        np.random.seed(seed)
        for labels, line in ((rows, np.s_[:, 0]), (columns, np.s_[0])):
            kept = subsample(labels, stride=stride)
            assert kept.shape == (12 // stride, 24 // stride)
            assert set(np.diff(kept[line])) == {stride}
            drawn.add(int(kept[line][0]))
    assert drawn == offsets, 'on average the middle'


def test_remainder_is_kept():
    kept = subsample(np.arange(35, dtype=np.uint8).reshape(5, 7), stride=4)
    assert kept.shape == (2, 2) and kept[1, 1] in (33, 34)
    with pytest.raises(ValueError, match='stride=0'):
        subsample(kept, stride=0)


def test_loss_of_a_head_is_that_at_the_labels(pairs_root):
    *load, pack = LOAD
    crop = dict(type='RandomCrop', crop_size=(32, 48))
    dataset = build(pairs_root, pipeline=[*load, crop, dict(type='SubsampleLabels'), pack])
    sample = dataset[0]
    labels = sample['data_samples'].gt_sem_seg.data
    assert sample['inputs'].shape == (3, 32, 48) and labels.shape == (1, 16, 24)
    head = MODELS.build(dict(type='FCNHead', in_channels=4, channels=4, num_classes=19))
    logits = torch.randn(1, 19, 8, 12)
    loss = head.loss_by_feat(logits, [sample['data_samples']])['loss_ce']
    upsampled = torch.nn.functional.interpolate(logits, size=(16, 24), mode='bilinear')
    assert (labels < 19).all()
    expected = torch.nn.functional.cross_entropy(upsampled, labels.long())
    torch.testing.assert_close(loss, expected)
