"""Small segmentors of several architectures, and their export."""

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.apis.export.comparison import compare, shapes_to_check
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork
from pspnet_plugin.apis.export.exporters import open_exported, write

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
    """Config of a small segmentor."""
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
    """Build a segmentor in eval mode, whose norms are no identities and whose logits are near 1."""
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


INFO = dict(classes=['road', 'car'], channel_order='RGB')


def exported(model, path, *, dynamic=True, normalize=True, form='onnx', size=(64, 96)):
    network = DeployedNetwork(model, normalize=normalize)
    picture = torch.zeros(2, 3, *size, dtype=torch.uint8 if normalize else torch.float32)
    write(network, picture, path, form=form, dynamic=dynamic, opset=20, metadata=INFO)
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
    'segformer': config_of(
        head=dict(type='FastSegformerHead', in_channels=[16, 24, 32, 64], in_index=[0, 1, 2, 3],
                  channels=16, norm_cfg=BN)
    ),
    'one channel': config_of(
        SMALL,
        dict(PSP, in_channels=24, in_index=1, num_classes=2, out_channels=1, threshold=0.4),
    ),
}  # fmt: skip


QUICK = ('resnet',)  # an export takes 10 to 40 s; 'ours' is in those of the tools


def check_dynamic_onnx(name: str, path) -> None:
    """Export a network to a file for any size, and compare many."""
    model = build(NETWORKS[name])
    run = exported(model, path)
    shapes = [*shapes_to_check((64, 96), dynamic=True), (1, 129, 255)]
    assert len({shape[1:] for shape in shapes}) > 3 and len({shape[0] for shape in shapes}) > 2
    check(run, model, shapes)
