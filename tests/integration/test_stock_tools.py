"""The framework's own tools, each in a process of its own, away from the checkout."""

import json
import os
import re
import runpy
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
from helpers.pairs import ROOT, label_map, photo, write_pair
from helpers.programs import DEMO, SHORT, on, run_tool, scalars
from mmengine.config import Config
from mmengine.utils import digit_version
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import DATASETS

from pspnet_plugin.engine import find_stock_tool
from pspnet_plugin.engine.hooks.run_record_hook import RECORD

STOCK = find_stock_tool('train.py').parent
# The frozen family cannot do some things on any data.
UPSTREAM = digit_version(mmseg.__version__) < digit_version('1.3')


def broken_upstream(reason: str):
    return pytest.mark.xfail(UPSTREAM, reason=reason, raises=AssertionError, strict=True)


def test_training_logs_losses_and_scores_without_a_group(demo_root, trained, tmp_path):
    """As in stock, variables that a scheduler left have no effect without --launcher."""
    options = on(demo_root, 'val_dataloader.dataset.data_prefix.img_path=train')
    output = run_tool(
        ROOT / 'tools/train.py', 'configs/psp_demo.py', '--work-dir', tmp_path, *options,
        env=dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0'),
    )  # fmt: skip
    logged = scalars(tmp_path)
    losses = {entry['step']: entry['loss'] for entry in logged if 'loss' in entry}
    assert list(losses) == [1, 2] and all(0 < loss < 20 for loss in losses.values())
    assert any('mIoU' in entry for entry in logged)
    assert (tmp_path / 'iter_2.pth').is_file()
    assert f'python tools/analysis_tools/report.py {tmp_path}' in output
    assert '8 of the 8 images' in output, 'trained on and scored'
    (log,) = trained.glob('*/*.log')
    assert 'images of val_dataloader' not in log.read_text()


def test_testing_writes_predictions_and_needs_no_training_data(trained, demo_root, tmp_path):
    output = run_tool(
        ROOT / 'tools/test.py', DEMO, trained / 'iter_2.pth', '--work-dir', tmp_path / 'tested',
        '--show-dir', 'shown', '--out', 'predicted',
        *on(demo_root, 'train_dataloader.dataset.data_root=nowhere'),
        'default_hooks.visualization.interval=1', cwd=tmp_path,
    )  # fmt: skip
    assert re.search(r'mIoU: +[\d.]+', output)
    score = json.loads((tmp_path / 'tested' / RECORD).read_text())['scores'][0]
    assert (score['loop'], score['iteration']) == ('test', 0)
    predicted = sorted((tmp_path / 'predicted').glob('*.png'))
    assert [path.name for path in predicted] == ['1.png', '2.png', '3.png']
    labels = cv2.imread(str(predicted[0]), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (256, 256) and labels.max() < 19
    drawn = sorted(tmp_path.glob('**/vis_image/test_*.jpg*.png'))
    assert [path.name.split('.')[0] for path in drawn] == ['test_1', 'test_2', 'test_3']
    overlay = cv2.imread(str(drawn[0]))
    assert overlay.shape == (256, 512, 3), 'truth and prediction drawn over the photo half'


def test_stock_test_runs_our_config_with_tta(trained, demo_root, tmp_path):
    output = run_tool(
        STOCK / 'test.py', DEMO, trained / 'iter_2.pth', '--tta', *on(demo_root), cwd=tmp_path
    )
    assert re.search(r'mIoU: +[\d.]+', output)


@broken_upstream('its visualizer gives OpenCV maps of a layout that this refuses')
def test_stock_browse_dataset(demo_root, tmp_path):
    tool = STOCK / 'analysis_tools' / 'browse_dataset.py'
    run_tool(tool, DEMO, '--output-dir', 'shown', '--not-show', *on(demo_root), cwd=tmp_path)
    assert len(list((tmp_path / 'shown').glob('*.jpg'))) == 8


@broken_upstream('it asks mmengine 0.10.7 for both input_shape and inputs, which excludes that')
def test_stock_get_flops(tmp_path):
    tool = STOCK / 'analysis_tools' / 'get_flops.py'
    output = run_tool(tool, ROOT / 'configs/psp_cityscapes_pairs.py', '--shape', 256, cwd=tmp_path)
    assert re.search(r'Flops: +[\d.]+G', output)
    assert re.search(r'Params: +[\d.]+M', output)


def test_stock_confusion_matrix(demo_root, tmp_path):
    """It matches records to predictions by listing a folder; the truth itself gives a diagonal."""
    for i in range(4, 12):
        # 13 classes: the tool computes 19 * index in 8 bits, which overflows beyond under NumPy 2.
        labels = label_map(256, 256, classes=13, seed=i)
        write_pair(tmp_path / 'pairs' / 'val' / f'{i}.png', labels=labels)
    config = Config.fromfile(DEMO)
    config.test_dataloader.dataset.update(data_root=str(tmp_path / 'pairs'), order='name')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    (tmp_path / 'truth').mkdir()
    for sample in (item['data_samples'] for item in dataset):
        labels = sample.gt_sem_seg.data[0].numpy().astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'truth' / Path(sample.img_path).name), labels)
    tool = STOCK / 'analysis_tools' / 'confusion_matrix.py'
    options = on(tmp_path / 'pairs', 'test_dataloader.dataset.order=name')
    (tmp_path / 'matplotlibrc').write_text('savefig.dpi: 20')  # 300 takes half a minute
    run_tool(tool, DEMO, 'truth', 'matrix', *options, cwd=tmp_path)
    assert (tmp_path / 'matrix' / 'confusion_matrix.png').is_file()

    listed = sorted(os.listdir(tmp_path / 'truth'))
    assert listed.index('10.png') < listed.index('4.png')
    maps = [cv2.imread(str(tmp_path / 'truth' / name), cv2.IMREAD_UNCHANGED) for name in listed]
    matrix = runpy.run_path(str(tool))['calculate_confusion_matrix'](dataset, maps)
    assert matrix.trace() == matrix.sum() == 8 * 256 * 256


STOCK_CONFIGS = {
    'pspnet': 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer': 'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
}


@pytest.mark.parametrize('name', STOCK_CONFIGS)
def test_stock_config_trains_on_pairs_by_its_dataset_alone(name, demo_root, tmp_path):
    """Type, root and prefix change; pipeline and schedule stay, and the model but for its head."""
    head = "model = dict(decode_head=dict(type='FastPSPHead'))\n" if name == 'pspnet' else ''
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{STOCK.parent / 'configs' / STOCK_CONFIGS[name]}'\n"
        "custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)\n"
        f'{head}'
        f"pairs = dict(type='CityscapesPairsDataset', data_root='{demo_root}')\n"
        "train_dataloader = dict(dataset=dict(**pairs, data_prefix=dict(img_path='train')))\n"
        "val_dataloader = dict(dataset=dict(**pairs, data_prefix=dict(img_path='val')))\n"
        'test_dataloader = val_dataloader\n'
    )
    options = [option for option in SHORT if 'val_interval' not in option]
    # No network for pretrained weights, and images small enough for a CPU.
    run_tool(
        STOCK / 'train.py', 'config.py', '--cfg-options', *options, 'train_cfg.val_interval=100',
        'model.backbone.init_cfg=None', 'model.pretrained=None',
        'model.data_preprocessor.size=(128,128)',
        'train_dataloader.dataset.pipeline.2.scale=(256,256)',
        'train_dataloader.dataset.pipeline.3.crop_size=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)', cwd=tmp_path,
    )  # fmt: skip
    losses = [entry['loss'] for entry in scalars(tmp_path / 'work_dirs/config') if 'loss' in entry]
    assert len(losses) == 2 and all(0 < loss < 20 for loss in losses)


def test_photo_is_labelled_by_the_inferencers(trained, tmp_path):
    """A file or an array that is no pair, of another size."""
    image = photo(120, 200)
    cv2.imwrite(str(tmp_path / 'holiday.png'), image)
    network = str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth')
    model = init_model(*network, device='cpu')
    by_file = inference_model(model, str(tmp_path / 'holiday.png')).pred_sem_seg.data
    assert by_file.shape == (1, 120, 200)
    assert (by_file == inference_model(model, image).pred_sem_seg.data).all()
    inferencer = MMSegInferencer(*network, device='cpu')
    result = inferencer(str(tmp_path / 'holiday.png'), out_dir=str(tmp_path / 'out'))
    np.testing.assert_array_equal(result['predictions'], by_file[0].numpy())
    assert list((tmp_path / 'out' / 'vis').iterdir())


@pytest.mark.parametrize('tool', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_scripts_pass_all_arguments_to_srun(tool, tmp_path):
    """A stand-in for srun prints its arguments."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
    srun.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    checkpoint = ['work/iter 1.pth'] if tool == 'slurm_test.sh' else []
    output = run_tool(
        ROOT / 'tools' / tool, 'gpu', 'my job', 'a config.py', *checkpoint, '--amp',
        env=dict(PATH=path, GPUS='16', GPUS_PER_NODE='8', SRUN_ARGS='--mem 8G'),
    )  # fmt: skip
    words = re.findall(r'\[(.*)\]', output)
    assert words[words.index('-p') + 1] == 'gpu'
    for word in ('--job-name=my job', '--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8', '8G'):
        assert word in words
    program = str(ROOT / 'tools' / tool.removeprefix('slurm_').replace('.sh', '.py'))
    at = words.index(program)
    assert words[at + 1 :] == ['a config.py', *checkpoint, '--launcher', 'slurm', '--amp']


def test_scripts_without_arguments_print_their_usage():
    for tool in ('dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'):
        assert f'usage: {tool}' in run_tool(ROOT / 'tools' / tool, status=1)


@pytest.mark.parametrize('debug', [False, True], ids=['plain', 'debug'])
def test_missing_data_are_one_line_without_debug(debug, tmp_path):
    words = [DEMO, '--work-dir', tmp_path / 'run'] + ['--debug'] * debug
    output = run_tool(ROOT / 'tools/train.py', *words, cwd=tmp_path, status=1)
    last = output.strip().splitlines()[-1]
    assert 'data/demo_pairs' in last and 'make demo' in last
    assert ('Traceback' in output) == debug
    assert last.startswith('train.py: ') != debug


def test_faults_of_others_keep_their_traceback(demo_root, tmp_path):
    wrong = on(demo_root, 'model.decode_head.channels=many')
    words = [DEMO, '--work-dir', tmp_path / 'run', *wrong]
    assert 'Traceback' in run_tool(ROOT / 'tools/train.py', *words, status=1)
