"""Data and networks that do not fit together are refused before the first step."""

from types import SimpleNamespace

import pytest
import torch
from helpers.pairs import CITYSCAPES, LOAD, build
from helpers.programs import DEMO
from mmengine.config import Config
from mmengine.dataset import ClassBalancedDataset
from mmseg.registry import MODELS

from pspnet_plugin.datasets import PairsDataset
from pspnet_plugin.engine.loops.data_check import check_classes, check_data


@pytest.fixture
def config():
    return Config.fromfile(DEMO).model


def runner_of(model, scored, warnings):
    val_loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=scored))
    logger = SimpleNamespace(warning=warnings.append)
    return SimpleNamespace(model=model, val_loop=val_loop, logger=logger, iter=0)


def test_number_of_classes_must_be_that_of_the_data(config, pairs_root):
    two = build(pairs_root, metainfo=dict(classes=('road', 'car')))
    with pytest.raises(ValueError, match=r'model.decode_head.num_classes is 19.*2.*road, car'):
        check_data(runner_of(MODELS.build(config), two, []), two)


def test_weights_of_the_loss_must_be_for_two_or_more_classes(config):
    config.decode_head.update(num_classes=2)
    model = MODELS.build(config)
    with pytest.raises(ValueError, match='wall'):
        check_classes(model, ['wall'])
    with pytest.raises(ValueError, match='decode_head.loss_decode.class_weight has 19 .* 2 '):
        check_classes(model, ['road', 'car'])
    model.decode_head.loss_decode.class_weight = None
    check_classes(model, ['road', 'car'])


def test_auxiliary_heads_are_checked(config):
    model = MODELS.build(config)
    model.auxiliary_head = torch.nn.ModuleList([torch.nn.Identity()])
    model.auxiliary_head[0].num_classes = 2
    with pytest.raises(ValueError, match='model.auxiliary_head.num_classes is 2'):
        check_classes(model, [str(i) for i in range(19)])


@pytest.mark.parametrize('split', ['train', 'val'])
def test_images_both_trained_on_and_scored_are_named(config, pairs_root, split):
    warnings = []
    train, scored = build(pairs_root), build(pairs_root, split)
    check_data(runner_of(MODELS.build(config), scored, warnings), train)
    assert len(warnings) == (split == 'train')
    assert all('4 of the 4' in text and 'train/1.png' in text for text in warnings)


def test_classes_without_a_pixel_are_named(config, pairs_root):
    warnings = []
    check_data(runner_of(MODELS.build(config), None, warnings), build(pairs_root))
    assert warnings == []
    config.decode_head.update(num_classes=20)
    config.decode_head.loss_decode.class_weight = None
    metainfo = {key: list(values) for key, values in CITYSCAPES.items()}
    metainfo['classes'].append('unicorn')
    metainfo['palette'].append([1, 2, 3])
    train = PairsDataset(
        data_root=str(pairs_root),
        data_prefix=dict(img_path='train'),
        metainfo=metainfo,
        pipeline=LOAD,
    )
    for dataset in (train, ClassBalancedDataset(train, oversample_thr=0)):
        warnings.clear()
        check_data(runner_of(MODELS.build(config), None, warnings), dataset)
        assert len(warnings) == 1 and 'unicorn' in warnings[0] and '4 of the 4' in warnings[0]
