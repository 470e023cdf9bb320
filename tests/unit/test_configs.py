"""Every config builds; a network of each architecture trains a step and predicts at another size.

``test_surface.py`` compares what the configs resolve to.
"""

from pathlib import Path

import pytest
import torch
from helpers.programs import ROOT, load_tool
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import DATASETS, LOOPS, METRICS, MODELS
from mmseg.structures import SegDataSample

CONFIGS = {path.stem: path for path in sorted((ROOT / 'configs').glob('*.py'))}
# One config of each architecture.
ARCHITECTURES = [
    'psp_small_cityscapes_pairs', 'fcn_dilated_cityscapes_pairs', 'psp_article_cityscapes_pairs',
    'psp_article-rgb_cityscapes_pairs', 'psp_r18-d8_cityscapes_pairs',
    'pspnet_r18-d8_cityscapes_pairs', 'segformer_mit-b0_cityscapes_pairs',
    'psp_efficientnet-lite0_cpu25_cityscapes_pairs',
]  # fmt: skip
SMALL = (64, 64)  # crops that keep a step within a second


@pytest.fixture
def split_root(pairs_root: Path) -> Path:
    """The pairs of ``pairs_root`` as photos and label maps."""
    tool, root = load_tool('dataset_converters/split_pairs.py'), pairs_root.parent / 'split'
    assert tool.main([str(pairs_root), str(root), '--workers', '1']) == 0
    return root


def load(name: str, root: Path) -> Config:
    """Load a config with its data in ``root``, to be read in this process in batches of two."""
    config = Config.fromfile(CONFIGS[name])
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        inner(loader.dataset).data_root = str(root)
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return config


def inner(dataset: ConfigDict) -> ConfigDict:
    """Return the dataset within wrappers."""
    return inner(dataset.dataset) if 'dataset' in dataset else dataset


def test_zoo_configs_are_short():
    lengths = {name: len(path.read_text().splitlines()) for name, path in CONFIGS.items()}
    assert len(lengths) >= 14
    assert max(lengths.values()) <= 25, lengths


@pytest.mark.parametrize('name', CONFIGS)
def test_every_part_of_a_config_builds(name, request):
    config = load(name, request.getfixturevalue('split_root' if 'split' in name else 'pairs_root'))
    model = MODELS.build({**config.model, 'pretrained': None})
    assert config.model.data_preprocessor == config.data_preprocessor
    assert config.data_preprocessor.size == config.crop_size
    build_optim_wrapper(model, config.optim_wrapper)
    assert config.train_cfg.type in LOOPS
    assert all(scheduler.type in PARAM_SCHEDULERS for scheduler in config.param_scheduler)
    Visualizer.get_instance('visualizer')  # a runner makes it before its hooks
    for hook in (*config.default_hooks.values(), *config.custom_hooks):
        HOOKS.build(hook)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        METRICS.build(evaluator)
    train = DATASETS.build(config.train_dataloader.dataset)[0]
    size = tuple(train['inputs'].shape[1:])
    padded = any(transform.type == 'Pad' for transform in config.train_pipeline)
    assert size == config.crop_size if padded else max(size) <= max(config.crop_size)
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    for loader, views in ((config.val_dataloader, 1), (config.test_dataloader, 6)):
        dataset = DATASETS.build(loader.dataset)
        samples = dataset[0]['data_samples']
        samples = samples if isinstance(samples, list) else [samples]
        assert len(dataset) == 2 and len(samples) == views
        assert all(sample.gt_sem_seg.data.unique().numel() > 5 for sample in samples)
    assert config.tta_model.type in MODELS


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_architecture_trains_a_step_and_predicts(name, pairs_root):
    config = load(name, pairs_root)
    config.model.data_preprocessor.size = SMALL
    for transform in inner(config.train_dataloader.dataset).pipeline:
        transform.update({key: SMALL for key in ('crop_size', 'size') if key in transform})
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    batch = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
    batch = model.data_preprocessor(batch, True)
    loss, parts = model.parse_losses(model(**batch, mode='loss'))
    assert 0.01 < parts['decode.loss_color' if 'rgb' in name else 'decode.loss_ce'] < 20
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        has_grad = parameter.grad is not None
        assert has_grad == parameter.requires_grad, f'gradient of {parameter_name}: {has_grad}'
    optimizer.step()
    with torch.no_grad():
        after, _ = model.parse_losses(model(**batch, mode='loss'))
    assert after.isfinite() and after != loss

    model.eval()
    size = (48, 80)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    (output,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert output.pred_sem_seg.data.shape == (1, *size)
    assert output.seg_logits.data.shape == (19, *size)


@pytest.mark.parametrize('layout', ['pairs', 'split'])
def test_an_environment_variable_sets_the_root(monkeypatch, layout):
    monkeypatch.setenv(f'{layout.upper()}_ROOT', 'elsewhere')
    config = Config.fromfile(CONFIGS[f'psp_cityscapes_{layout}'])
    loaders = config.train_dataloader, config.val_dataloader, config.test_dataloader
    assert [loader.dataset.data_root for loader in loaders] == ['elsewhere'] * 3
