"""Exported networks give the framework's results, at any size, and run without it."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.exports import (
    INFO,
    NETWORKS,
    PSP,
    QUICK,
    build,
    check,
    check_dynamic_onnx,
    config_of,
    exported,
)
from helpers.pairs import CITYSCAPES, ROOT, photo
from helpers.predictors import write_random
from helpers.programs import DEMO, load_tool, run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from onnx import TensorProto

from pspnet_plugin import Predictor
from pspnet_plugin.apis.export import quantization
from pspnet_plugin.apis.export.comparison import sample_images, shapes_to_check
from pspnet_plugin.apis.export.exporters import FORMATS, METADATA, open_exported
from pspnet_plugin.version import __version__

EXPORT = ROOT / 'tools/deployment/export_onnx.py'
PREDICT = ROOT / 'tools/deployment/predict_onnx.py'


@pytest.mark.parametrize('name', QUICK)
def test_dynamic_onnx_equals_the_framework(name, tmp_path):
    check_dynamic_onnx(name, tmp_path / 'net.onnx')


def test_other_formats_with_a_free_batch_and_normalisation_outside(tmp_path):
    """Both are compared with one reference."""
    model = build(NETWORKS['resnet'])
    for form, normalize in (('torchscript', False), ('torchscript', True), ('torch_export', False)):
        path, dynamic = tmp_path / f'net{FORMATS[form]}', form == 'torch_export'
        run = exported(model, path, dynamic=dynamic, normalize=normalize, form=form)
        check(run, model, shapes_to_check((64, 96), dynamic=dynamic), normalize=normalize)
        extra = {METADATA: ''}
        if form == 'torch_export':
            torch.export.load(path, extra_files=extra)
        else:
            torch.jit.load(path, _extra_files=extra)
        assert json.loads(extra[METADATA]) == INFO


def test_a_file_that_fails_the_check_is_not_kept(tmp_path, capsys, monkeypatch):
    """Neither under its name nor in part; what was there before stays."""
    tool = load_tool('deployment/export_onnx.py')
    _, config, _, checkpoint = write_random(Config.fromfile(DEMO), tmp_path / 'net')
    out = tmp_path / 'net.pt'
    out.write_text('an older one')
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(
        tool, 'open_exported', lambda *_, **__: lambda x: (x[:, 0], x[:, :1].repeat(1, 19, 1, 1))
    )
    options = ['--format', 'torchscript', '--size', '64x64']
    assert tool.main([config, checkpoint, str(out), *options]) == 1
    assert str(out) in capsys.readouterr().err.splitlines()[-1]
    assert out.read_text() == 'an older one' and sorted(tmp_path.iterdir()) == before


@pytest.fixture(scope='module')
def trained_files(tmp_path_factory):
    """A config and a checkpoint as a training leaves them, with the classes of Cityscapes."""
    folder = tmp_path_factory.mktemp('network')
    auxiliary = dict(type='FCNHead', in_channels=32, in_index=2, channels=8, num_convs=1)
    config = config_of(
        head=dict(PSP, num_classes=19), auxiliary_head=dict(auxiliary, num_classes=19)
    )
    model = build(config)
    plain = json.loads(json.dumps({**config, 'test_cfg': dict(mode='whole')}))
    (folder / 'net.py').write_text(
        "custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)\n"
        f'model = {plain!r}\n'
        "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]\n"
        'test_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n'
    )
    meta = dict(dataset_meta=dict(classes=CITYSCAPES['classes'], palette=CITYSCAPES['palette']))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'net.pth')
    return folder


@pytest.fixture(scope='module')
def onnx_file(trained_files):
    """Written by the tool in a process of its own, for any size."""
    out = trained_files / 'net.onnx'
    words = run_tool(EXPORT, trained_files / 'net.py', trained_files / 'net.pth', out, '--dynamic')
    assert len(re.findall(r'\d+ x \d+x\d+: ', words)) == 5
    assert 'torchvision' not in words
    assert [path.name for path in trained_files.glob('*.onnx')] == ['net.onnx']
    assert not list(trained_files.glob('.*'))
    return out


def test_half_weights_make_half_the_file(trained_files, onnx_file):
    half = trained_files / 'half.onnx'
    arguments = [trained_files / 'net.py', trained_files / 'net.pth', half, '--dynamic', '--half']
    assert load_tool('deployment/export_onnx.py').main([*map(str, arguments)]) == 0
    sizes = [
        sum(tensor.ByteSize() for tensor in onnx.load(path).graph.initializer)
        for path in (half, onnx_file)
    ]
    assert 0.5 <= sizes[0] / sizes[1] < 0.6
    image = sample_images((1, 70, 90))
    (labels, logits), (expected, exact) = (
        open_exported(path, form='onnx')(image) for path in (half, onnx_file)
    )
    assert (labels == expected).float().mean() > 0.98 and labels.unique().numel() > 1
    assert 0 < (logits - exact).abs().max() < 1e-2 * exact.abs().max()


@pytest.mark.parametrize(('speed', 'status'), [(2.0, 0), (0.9, 1)])
def test_int8_is_kept_if_it_is_faster(speed, status, trained_files, tmp_path, monkeypatch, capsys):
    for seed in range(20):
        cv2.imwrite(str(tmp_path / f'{seed}.png'), photo(64, 96, seed=seed))
    monkeypatch.setattr(quantization, '_speed', lambda *_: speed)
    out = trained_files / 'int8.onnx'
    arguments = [str(trained_files / 'net.py'), str(trained_files / 'net.pth'), str(out)]
    options = ['--size', '64x96', '--quantize', str(tmp_path), '--max-loss', '100']
    assert load_tool('deployment/export_onnx.py').main([*arguments, *options]) == status
    model = onnx.load(out)
    assert (TensorProto.INT8 in {t.data_type for t in model.graph.initializer}) == (status == 0)
    assert {prop.key for prop in model.metadata_props} >= {'classes', 'palette', 'size'}
    captured = capsys.readouterr()
    assert f'{speed:.2f} times as fast' in captured.out
    assert (f'{out} stays in float' in captured.err) == (status == 1)
    labels = Predictor(out)(photo(64, 96)).labels
    assert len(np.unique(labels)) > 1


def test_files_name_no_directory_of_this_machine(onnx_file):
    content = onnx_file.read_bytes()
    assert b'index_map' in content
    assert str(ROOT).encode() not in content and b'site-packages' not in content


@pytest.mark.parametrize('normalize', ['inside', 'outside'])
def test_a_painting_head_scaled_by_extremes_labels_as_the_framework(normalize, tmp_path):
    config = tmp_path / 'paint.py'
    config.write_text(
        f"""_base_ = ['{ROOT}/configs/psp_article-rgb_cityscapes_pairs.py']
model = dict(
    backbone=dict(widths=((4, 4, 8),), blocks=(1,), strides=(2,), dilations=(1,), out_indices=(0,)),
    decode_head=dict(in_channels=8, in_index=0, windows=('global', 2)),
)
"""
    )
    checkpoint, out = tmp_path / 'paint.pth', tmp_path / 'paint.onnx'
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    meta = dict(dataset_meta={key: CITYSCAPES[key] for key in ('classes', 'palette')})
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    run_tool(
        EXPORT, config, checkpoint, out, '--size', '64x96', '--normalize', normalize, cwd=tmp_path
    )
    about = {prop.key: prop.value for prop in onnx.load(out).metadata_props}
    assert about['scaling'] == 'min_max' and about['normalization'] == normalize
    picture = tmp_path / 'photo.png'
    cv2.imwrite(str(picture), photo(64, 96) // 2 + 20)  # extremes that are not 0 and 255
    run_tool(PREDICT, out, picture, '--out', tmp_path / 'labelled', cwd=tmp_path)
    labels = cv2.imread(str(tmp_path / 'labelled/photo.png'), cv2.IMREAD_UNCHANGED)
    framework = init_model(str(config), str(checkpoint), device='cpu')
    expected = inference_model(framework, str(picture)).pred_sem_seg.data[0].numpy()
    assert len(np.unique(expected)) > 2
    assert (labels == expected).mean() > 0.999


def test_metadata_are_those_of_the_checkpoint(onnx_file):
    about = {prop.key: prop.value for prop in onnx.load(onnx_file).metadata_props}
    assert json.loads(about['classes']) == list(CITYSCAPES['classes'])
    assert json.loads(about['palette']) == [list(colour) for colour in CITYSCAPES['palette']]
    assert json.loads(about['mean']) == pytest.approx([123.675, 116.28, 103.53])
    assert json.loads(about['std']) == pytest.approx([58.395, 57.12, 57.375])
    assert about['channel_order'] == 'RGB' and about['normalization'] == 'inside'
    assert json.loads(about['size']) == [64, 64] and about['dynamic_size'] == 'true'
    assert about['pspnet_plugin'] == __version__


def test_photos_are_labelled_as_by_the_framework_without_torch(onnx_file, tmp_path):
    sizes = {'a.png': (120, 201), 'b.jpg': (64, 64), 'deep.bmp': (77, 50)}
    (tmp_path / 'photos').mkdir()
    for seed, (name, size) in enumerate(sizes.items()):
        cv2.imwrite(str(tmp_path / 'photos' / name), photo(*size, seed=seed))
    (tmp_path / 'bad.jpg').write_text('no picture')
    arguments = [str(onnx_file), str(tmp_path / 'photos'), str(tmp_path / 'bad.jpg'),
                 '--out', str(tmp_path / 'out'), '--color']  # fmt: skip
    # Run as a program, which prints at its end which of these it has imported.
    script = (
        f'import runpy, sys; sys.argv = ["predict_onnx.py", *{arguments!r}]\n'
        'try:\n'
        f'    runpy.run_path({str(PREDICT)!r}, run_name="__main__")\n'
        'finally:\n'
        '    found = {"torch", "mmseg", "mmengine", "mmcv", "pspnet_plugin"} & {*sys.modules}\n'
        '    print("IMPORTED", sorted(found))\n'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert 'IMPORTED []' in done.stdout
    assert '3 of 4' in done.stdout and f'{tmp_path}/bad.jpg' in done.stderr
    model = init_model(
        str(onnx_file.with_suffix('.py')), str(onnx_file.with_suffix('.pth')), device='cpu'
    )
    for name, size in sizes.items():
        made = tmp_path / 'out' / name
        labels = cv2.imread(str(made.with_suffix('.png')), cv2.IMREAD_UNCHANGED)
        wanted = inference_model(model, str(tmp_path / 'photos' / name)).pred_sem_seg.data[0]
        assert labels.dtype == np.uint8 and labels.shape == size
        assert (labels == wanted.numpy()).mean() >= 0.999
        assert len(np.unique(labels)) > 1
        colours = cv2.imread(str(made.with_name(f'{made.stem}_color.png')))
        np.testing.assert_array_equal(
            colours, np.array(CITYSCAPES['palette'], np.uint8)[labels][..., ::-1]
        )
    assert not list((tmp_path / 'out').glob('.*'))
