"""How large the photos of a training were, by its config."""

import pytest
from helpers.pairs import ROOT
from mmengine.config import Config

from pspnet_plugin.apis.trained_size import trained_side


def of(*steps, wrap=False) -> int | None:
    dataset = dict(type='x', pipeline=[dict(type='LoadImageFromFile'), *steps])
    if wrap:
        dataset = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[dataset]))
    return trained_side(Config(dict(train_dataloader=dict(dataset=dataset))))


@pytest.mark.parametrize(
    ('steps', 'side'),
    [
        ([dict(type='RandomResize', scale=(256, 128), ratio_range=(0.5, 2.0))], 512),
        ([dict(type='RandomResize', scale=[(100, 50), (300, 150)])], 300),
        ([dict(type='Resize', scale=(640, 480))], 640),
        ([dict(type='Resize', scale=320)], 320),
        ([dict(type='Resize', scale_factor=0.5)], None),
        ([dict(type='RandomChoiceResize', scales=[256, 300], max_size=1024)], 1024),
        ([dict(type='Resize', scale=(640, 480)), dict(type='RandomFlip')], 640),
        ([], None),
    ],
)
def test_sizes_that_steps_make(steps, side):
    assert of(*steps) == of(*steps, wrap=True) == side


def test_configs_without_a_training():
    assert trained_side(Config(dict())) is None
    assert trained_side(Config(dict(train_dataloader=dict(dataset=dict(type='x'))))) is None


def test_our_configs_say_it():
    paths = sorted((ROOT / 'configs').glob('*.py'))
    found = {path.name: trained_side(Config.fromfile(path)) for path in paths}
    assert found['psp_cpu25_cityscapes_pairs.py'] == 512 and found['psp_demo.py'] is None
