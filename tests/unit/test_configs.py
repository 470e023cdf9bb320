"""Every config of ours: built, stepped once on pairs, predicting at other sizes."""

import pytest
import torch
from helpers.pairs import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.structures import SegDataSample

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
NAMES = [path.stem for path in CONFIGS]
PACK = dict(type='PackSegInputs')
LOSSES = {'decode.loss_ce': 0.5, 'decode.loss_color': 0.01}  # and what an untrained one exceeds


def load(path, root):
    config = Config.fromfile(path)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = str(root)
        loader.num_workers = 0
        loader.persistent_workers = False
    config.train_dataloader.batch_size = 2
    return config


def test_the_named_configs_are_there():
    assert set(NAMES) >= {
        'psp_cityscapes_pairs',
        'psp_article_cityscapes_pairs',
        'psp_article-rgb_cityscapes_pairs',
        'psp_r50-d8_cityscapes_pairs',
        'fcn_dilated_cityscapes_pairs',
        'psp_cityscapes_split',
        'psp_demo',
    }


@pytest.fixture
def root(path, request):
    """The data that a config reads."""
    return request.getfixturevalue('split_root' if 'split' in path.stem else 'demo_root')


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_config_trains_a_step_and_predicts(path, root):
    config = load(path, root)
    if 'article' in path.stem:
        # Every map is at full resolution: a smaller crop keeps the step within seconds.
        config.train_dataloader.batch_size = 1
        crop = dict(type='RandomCrop', crop_size=(64, 64))
        config.train_dataloader.dataset.pipeline = [*config.test_pipeline[:2], crop, PACK]
        config.model.data_preprocessor.size = (64, 64)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    batch = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
    loss, parts = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    name, least = next((n, v) for n, v in LOSSES.items() if n in parts)
    assert least < parts[name].item() < 20
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f'no gradient for {parameter_name}'
    optimizer.step()
    with torch.no_grad():
        _, after = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    assert after[name] != parts[name]

    model.eval()
    size = (96, 160)
    picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    (output,) = model.test_step(dict(inputs=[picture], data_samples=[sample]))
    assert output.pred_sem_seg.data.shape == (1, *size)
    assert output.seg_logits.data.shape == (19, *size)


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_parts_of_config_are_registered(path, root):
    """Data, metrics, hooks and schedules build, and test-time augmentation is there."""
    config = load(path, root)
    for loader in (config.val_dataloader, config.test_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == 3
        assert dataset[0]['data_samples'].gt_sem_seg.data.unique().numel() > 5
    METRICS.build(config.val_evaluator)
    Visualizer.get_instance('visualizer')  # which a runner makes before its hooks
    for hook in config.default_hooks.values():
        HOOKS.build(hook)
    assert all(scheduler.type in PARAM_SCHEDULERS for scheduler in config.param_scheduler)
    assert config.tta_model.type in MODELS
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    sample = DATASETS.build(config.test_dataloader.dataset)[0]
    assert len(sample['inputs']) == 6


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_config_shows_its_model_and_inherits_one_level(path):
    text = path.read_text()
    assert 'model = dict(' in text
    bases = Config._get_base_files(path)
    assert bases
    for base in bases:
        assert base.startswith('_base_/')
        assert '_base_ =' not in (path.parent / base).read_text()


@pytest.mark.parametrize('layout', ['pairs', 'split'])
def test_a_variable_moves_the_data(monkeypatch, layout):
    monkeypatch.setenv(f'{layout.upper()}_ROOT', 'elsewhere')
    config = Config.fromfile(ROOT / 'configs' / f'psp_cityscapes_{layout}.py')
    assert config.train_dataloader.dataset.data_root == 'elsewhere'
    assert config.test_dataloader.dataset.data_root == 'elsewhere'


def test_pairs_and_split_pairs_train_the_same_network():
    pairs, split = (
        Config.fromfile(ROOT / 'configs' / f'psp_cityscapes_{layout}.py')
        for layout in ('pairs', 'split')
    )
    assert split.model == pairs.model
    assert split.train_pipeline == pairs.train_pipeline
    assert split.train_dataloader.dataset.type == 'CityscapesDataset'
