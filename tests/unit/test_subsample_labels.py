"""Labels at fewer pixels: which they are, and that stock heads learn from them."""

import numpy as np
import pytest
import torch
from helpers.pairs import LOAD, build
from mmseg.registry import MODELS, TRANSFORMS


def sampled(maps, **options):
    transform = TRANSFORMS.build(dict(type='SubsampleLabels', **options))
    return transform(dict(img=None, gt_seg_map=maps, seg_fields=['gt_seg_map']))['gt_seg_map']


@pytest.mark.parametrize(('stride', 'offsets'), [(1, {0}), (2, {0, 1}), (3, {1}), (4, {1, 2})])
def test_samples_lie_in_the_middle_of_what_they_stand_for(stride, offsets):
    rows, columns = np.mgrid[:12, :24].astype(np.uint8)
    found = set()
    for seed in range(40):
        np.random.seed(seed)
        for axis, maps in enumerate((rows, columns)):
            kept = sampled(maps, stride=stride)
            assert kept.shape == (12 // stride, 24 // stride)
            line = kept[:, 0] if axis == 0 else kept[0]
            assert set(np.diff(line)) == {stride}
            found.add(int(line[0]))
    assert found == offsets, 'on average the middle'


def test_a_remainder_is_not_lost():
    maps = np.arange(35, dtype=np.uint8).reshape(5, 7)
    kept = sampled(maps, stride=4)
    assert kept.shape == (2, 2)
    assert kept[1, 1] in (33, 34)


def test_a_head_s_loss_follows_the_labels(demo_root):
    *load, pack = LOAD
    crop = dict(type='RandomCrop', crop_size=(64, 96))
    dataset = build(demo_root, pipeline=[*load, crop, dict(type='SubsampleLabels'), pack])
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 64, 96)
    labels = sample['data_samples'].gt_sem_seg.data
    assert labels.shape == (1, 32, 48)
    head = MODELS.build(
        dict(type='FCNHead', in_channels=4, channels=4, num_convs=1, num_classes=19)
    )  # fmt: skip
    logits = torch.randn(1, 19, 16, 24)
    loss = head.loss_by_feat(logits, [sample['data_samples']])['loss_ce']
    upsampled = torch.nn.functional.interpolate(logits, size=(32, 48), mode='bilinear')
    expected = torch.nn.functional.cross_entropy(
        upsampled, labels.long(), ignore_index=255, reduction='none'
    )
    torch.testing.assert_close(loss, expected.mean())


def test_a_stride_that_is_none_is_refused():
    with pytest.raises(ValueError, match='stride=0: expected a number from 1 up'):
        sampled(np.zeros((4, 4), np.uint8), stride=0)
