"""Exported networks are those of the framework, at any size, and run without it."""

import json
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.pairs import CITYSCAPES, ROOT, photo
from helpers.programs import run_tool
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.apis.export.comparison import Difference, compare, shapes_to_check
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork
from pspnet_plugin.apis.export.exporters import FORMATS, METADATA, open_exported, write
from pspnet_plugin.version import __version__

EXPORT = ROOT / 'tools/deployment/export_onnx.py'
PREDICT = ROOT / 'tools/deployment/predict_onnx.py'
BN = dict(type='BN')
OURS = dict(
    type='DilatedResidualNet',
    widths=((8, 8, 16), (8, 8, 24), (8, 8, 32), (8, 8, 64)),
    blocks=(1, 1, 1, 1),
    strides=(2, 2, 2, 1),
    dilations=(1, 1, 1, 2),
    out_indices=(0, 1, 2, 3),
    norm_cfg=BN,
)
# Few stages each: exporting takes seconds a block.
SMALL = dict(
    type='DilatedResidualNet', widths=((8, 8, 16), (8, 8, 24)), blocks=(1, 1), strides=(4, 2),
    dilations=(1, 1), out_indices=(0, 1), norm_cfg=BN,
)  # fmt: skip
RESNET = dict(
    type='ResNetV1c', depth=18, base_channels=16, stem_channels=8, num_stages=2, strides=(1, 1),
    dilations=(1, 2), out_indices=(0, 1), contract_dilation=True, norm_cfg=BN,
)  # fmt: skip
MIT = dict(
    type='MixVisionTransformer', embed_dims=16, num_stages=1, num_layers=[1], num_heads=[2],
    patch_sizes=[7], strides=[4], sr_ratios=[4], out_indices=(0,),
)  # fmt: skip
PSP = dict(type='FastPSPHead', in_channels=64, in_index=3, channels=16, norm_cfg=BN)
CLASSES = 5


def config_of(backbone=OURS, head=PSP, **more) -> dict:
    """A segmentor's config of three lines of numbers."""
    head = {**dict(num_classes=CLASSES, dropout_ratio=0), **head}
    preprocessor = dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, size=(64, 64),
    )  # fmt: skip
    return dict(
        type='EncoderDecoder', data_preprocessor=preprocessor, backbone=backbone, decode_head=head,
        train_cfg=None, test_cfg=ConfigDict(mode='whole'), **more,
    )  # fmt: skip


def build(config: dict) -> torch.nn.Module:
    """In eval mode; norms are no identities, and logits are of the size of 1."""
    init_default_scope('mmseg')  # a fixture of the module comes before that of each test
    torch.manual_seed(0)
    model = MODELS.build(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
        model.decode_head.conv_seg.weight.normal_(0, 0.1)
    return model.eval().requires_grad_(False)


ABOUT = dict(classes=['road', 'car'], channel_order='RGB')


def exported(model, path, *, dynamic=True, normalize=True, form='onnx', size=(64, 96)):
    network = DeployedNetwork(model, normalize=normalize)
    picture = torch.zeros(2, 3, *size, dtype=torch.uint8 if normalize else torch.float32)
    write(network, picture, path, form=form, dynamic=dynamic, opset=20, metadata=ABOUT)
    return open_exported(path, form=form)


def check(run, model, shapes, *, normalize=True, order='RGB'):
    assert shapes
    for shape in shapes:
        found = compare(run, model, shape, normalize=normalize, order=order)
        assert found.logits <= 1e-4 * max(1, found.largest) and found.equal >= 0.999, found
        assert found.passes()
        assert 0.1 < found.largest < 1e3


NETWORKS = {
    'ours': config_of(),
    'resnet': config_of(RESNET, dict(PSP, in_channels=32, in_index=1)),
    'mit': config_of(MIT, dict(PSP, in_channels=32, in_index=0)),
    'resize_concat, align_corners': config_of(
        SMALL,
        dict(PSP, in_index=(0, 1), in_channels=(16, 24), input_transform='resize_concat',
             align_corners=True),
    ),
    'windows': config_of(
        SMALL, dict(type='WindowPSPHead', in_channels=24, in_index=1, windows=('global', 2, 3))
    ),
    'uper': config_of(
        head=dict(type='FastUPerHead', in_channels=[16, 24, 32, 64], in_index=[0, 1, 2, 3],
                  channels=16, norm_cfg=BN)
    ),
    'one channel': config_of(
        SMALL,
        dict(PSP, in_channels=24, in_index=1, num_classes=2, out_channels=1, threshold=0.4),
    ),
}  # fmt: skip


QUICK = ('resnet', 'mit')  # an export takes 10 to 40 s; ours is in those of the tools below


@pytest.mark.parametrize(
    'name',
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in NETWORKS],
)
def test_dynamic_onnx_equals_the_framework(name, tmp_path):
    model = build(NETWORKS[name])
    run = exported(model, tmp_path / 'net.onnx')
    shapes = [*shapes_to_check((64, 96), dynamic=True), (1, 129, 255)]
    assert len({shape[1:] for shape in shapes}) > 3 and len({shape[0] for shape in shapes}) > 2
    check(run, model, shapes)


def test_other_formats_with_a_free_batch_and_normalisation_outside(tmp_path):
    """That inside and outside agree follows from the one reference."""
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
        assert json.loads(extra[METADATA]) == ABOUT


def test_a_network_that_would_pad_other_sizes_passes_at_one_that_it_does_not():
    config = config_of(SMALL, dict(PSP, in_channels=24, in_index=1))
    config['data_preprocessor']['test_cfg'] = dict(size_divisor=32)
    model = build(config)
    network = DeployedNetwork(model, normalize=True)
    assert compare(network, model, (1, 64, 96), normalize=True, order='RGB').passes()


def test_a_network_of_another_result_does_not_pass():
    """What the check is for: another channel order, or a normalisation left out."""
    model = build(NETWORKS['ours'])
    run = DeployedNetwork(model, normalize=True)
    wanted = dict(shape=(1, 64, 96), normalize=True)
    assert compare(run, model, order='RGB', **wanted).passes()
    assert not compare(run, model, order='BGR', **wanted).passes()
    assert not compare(run, model, order='RGB', shape=(1, 64, 96), normalize=False).passes()
    assert not Difference((1, 3, 8, 8), float('nan'), 1.0, 1.0).passes()
    assert not Difference((1, 3, 8, 8), 0.0, 1.0, 0.998).passes()


def test_more_classes_than_an_index_map_holds():
    with pytest.raises(ValueError, match='300 classes'):
        DeployedNetwork(build(config_of(head=dict(PSP, num_classes=300))), normalize=True)


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
    assert words.count('index maps equal') == 5  # five shapes
    assert 'torchvision' not in words
    assert [path.name for path in trained_files.glob('*.onnx')] == ['net.onnx']
    assert not list(trained_files.glob('.*'))
    return out


@pytest.mark.parametrize('normalize', ['inside', 'outside'])
def test_a_painting_head_and_scaling_by_extremes(normalize, tmp_path):
    """The article's network: what the file predicts without torch is what the framework does."""
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
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
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


def test_metadata_says_what_a_user_needs(onnx_file):
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
    # As a program would run it, but telling at its end what was imported.
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
    assert '3 of 4 photos' in done.stdout
    assert f'{tmp_path / "bad.jpg"} is no picture' in done.stderr
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
