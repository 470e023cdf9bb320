"""Configs and checkpoints: errors name the file and the value, sizes come from the pipeline."""

import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import DEMO
from mmengine.config import Config
from mmseg.registry import MODELS

from pspnet_plugin.apis.loading import load_config, load_model, trained_side


def side_of(*steps, wrap=False, **backbone) -> int | None:
    dataset = dict(type='x', pipeline=[dict(type='LoadImageFromFile'), *steps])
    if wrap:
        dataset = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[dataset]))
    model = dict(backbone=backbone)
    return trained_side(Config(dict(train_dataloader=dict(dataset=dataset), model=model)))


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
    ids=str,
)
def test_the_trained_side_is_what_the_pipeline_resizes_to(steps, side):
    assert side_of(*steps) == side_of(*steps, wrap=True) == side
    assert side_of(*steps, test_scale=1.25) == (side and side * 4 // 5)


def test_configs_without_a_training_have_no_trained_side():
    assert trained_side(Config(dict())) is None
    assert trained_side(Config(dict(train_dataloader=dict(dataset=dict(type='x'))))) is None


def test_configs_of_the_zoo_have_a_trained_side():
    sides = {
        name: trained_side(Config.fromfile(ROOT / 'configs' / name))
        for name in (
            'psp_cpu25_cityscapes_pairs.py', 'psp_efficientnet-lite2_cpu25_cityscapes_pairs.py',
            'psp_efficientnet-lite2_aspects_cityscapes_pairs.py',
            'psp_efficientnet-lite0_distilled_cityscapes_pairs.py', 'psp_demo.py',
        )
    }  # fmt: skip
    assert list(sides.values()) == [512, 460, 460, 576, None]


@pytest.fixture(scope='module')
def state():
    """Weights of the demo's network."""
    return MODELS.build(Config.fromfile(DEMO).model).state_dict()


def message(checkpoint) -> str:
    with pytest.raises(ValueError) as error:
        load_model(load_config(DEMO), checkpoint)
    return str(error.value)


def test_a_checkpoint_that_does_not_fit_is_named_with_its_keys(tmp_path, state):
    path = tmp_path / 'other.pth'
    some = {key: value for key, value in state.items() if 'bottleneck' not in key}
    torch.save(dict(state_dict={**some, 'head.extra': torch.zeros(1)}), path)
    for part in (str(path), 'psp_demo.py', 'decode_head.bottleneck', 'head.extra'):
        assert part in message(path)
    torch.save({**state, 'decode_head.conv_seg.bias': torch.zeros(3)}, path)
    for part in (str(path), 'decode_head.conv_seg.bias', '[3]', '[19]'):
        assert part in message(path)


@pytest.mark.parametrize('content', [dict(epoch=3), [1, 2], None], ids=['dict', 'list', 'text'])
def test_a_file_without_weights_is_named(content, tmp_path):
    path = tmp_path / 'other.pth'
    path.write_text('nothing of torch') if content is None else torch.save(content, path)
    assert str(path) in message(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth'):
        load_model(load_config(DEMO), tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match='none.py'):
        load_config(tmp_path / 'none.py')


CONFIGS = {
    'syntax': ('model = dict(', 'SyntaxError'),
    'fails': ('model = dict(size=1 / 0)', 'ZeroDivisionError'),
    'no model': ('x = 1', 'decode_head'),
    'unknown part': (
        "model = dict(type='EncoderDecoder', backbone=dict(type='Nothing'), decode_head=dict())",
        'Nothing',
    ),
    'slide': ("model = dict(decode_head=dict(), test_cfg=dict(mode='slide'))", 'mode=whole'),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_that_cannot_be_used_is_named(name, tmp_path, state):
    text, value = CONFIGS[name]
    path = tmp_path / 'net.py'
    path.write_text(text)
    torch.save(state, tmp_path / 'net.pth')
    with pytest.raises(ValueError) as error:
        load_model(load_config(path), tmp_path / 'net.pth')
    assert str(path) in str(error.value) and value in str(error.value)
