"""Our head on stock backbones, our backbone under stock heads, by config alone."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

BN = dict(type='BN')
RESNET = dict(dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), frozen_stages=1, norm_cfg=BN)
BACKBONES = {
    'ResNetV1c': (dict(depth=18, contract_dilation=True, **RESNET), 512, 3),
    'MobileNetV2': (dict(widen_factor=0.25, out_indices=(1, 2, 4, 6), norm_cfg=BN), 80, 3),
    'MixVisionTransformer': (dict(embed_dims=8, num_stages=4, num_layers=[1] * 4), 64, 3),
    'SwinTransformer': (
        dict(embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=4), 96, 3
    ),
    'UNet': (dict(base_channels=4, norm_cfg=BN), 4, 4),
}  # fmt: skip
OURS = dict(
    type='DilatedResidualNet', widths=((8, 8, 16), (8, 8, 32), (8, 8, 48), (8, 8, 64)),
    blocks=(1, 1, 1, 1), strides=(2, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(0, 1, 2, 3),
    norm_cfg=BN,
)  # fmt: skip
LAST = dict(in_channels=64, in_index=3, channels=16, norm_cfg=BN)
ALL = dict(in_channels=[16, 32, 48, 64], in_index=[0, 1, 2, 3], channels=16, norm_cfg=BN)
HEADS = {
    'PSPHead': LAST,
    'FCNHead': LAST,
    'ASPPHead': dict(LAST, dilations=(1, 2, 3)),
    'DepthwiseSeparableASPPHead': dict(LAST, dilations=(1, 2, 3), c1_in_channels=16, c1_channels=8),
    'UPerHead': ALL,
    'SegformerHead': ALL,
    'FPNHead': dict(ALL, in_channels=[16] * 4, feature_strides=[2, 4, 8, 8]),
    'DAHead': dict(LAST, pam_channels=8),
}


def step(backbone, head, **extra):
    """Build, run one training step, check the gradients, predict."""
    size = 64
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
                                   size=(size, size), seg_pad_val=255),
            backbone=backbone,
            decode_head=dict(head, num_classes=4, dropout_ratio=0),
            train_cfg=dict(),
            test_cfg=ConfigDict(mode='whole'),
            **extra,
        )
    )  # fmt: skip
    model.init_weights()
    labels = PixelData(data=torch.randint(0, 4, (1, size, size)))
    meta = dict(img_shape=(size, size), ori_shape=(size, size))
    samples = [SegDataSample(metainfo=meta, gt_sem_seg=labels) for _ in range(2)]
    images = [torch.randint(0, 256, (3, size, size), dtype=torch.uint8)] * 2
    batch = dict(inputs=images, data_samples=samples)
    losses = model.train()(**model.data_preprocessor(batch, True), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for n, p in model.decode_head.named_parameters():
        assert p.grad is not None, f'no gradient for {n}'
    grads = [p.grad.abs().sum() for p in model.backbone.parameters() if p.grad is not None]
    assert len(grads) > 10 and sum(grads) > 0
    model.eval()
    with torch.no_grad():
        outputs = model(**model.data_preprocessor(batch), mode='predict')
    assert outputs[0].pred_sem_seg.data.shape == (1, size, size)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize(
    'head',
    [
        dict(type='FastPSPHead', norm_cfg=BN),
        dict(type='WindowPSPHead', windows=(2,)),
        dict(type='ColorPSPHead', windows=(2,), palette=[[i, 0, 99] for i in range(4)]),
    ],
    ids=lambda head: head['type'],
)
def test_our_heads_on_stock_backbones(backbone, head):
    arguments, channels, index = BACKBONES[backbone]
    inputs = dict(in_channels=channels, in_index=index, channels=16)
    step(dict(type=backbone, **arguments), head | inputs)


@pytest.mark.parametrize('head', HEADS)
def test_our_backbone_under_stock_heads(head):
    extra = {}
    if head == 'FPNHead':
        extra['neck'] = dict(type='FPN', in_channels=[16, 32, 48, 64], out_channels=16, num_outs=4)
    step(OURS, dict(type=head, **HEADS[head]), **extra)


def test_our_head_as_auxiliary_head():
    step(
        OURS,
        dict(type='FastPSPHead', **LAST),
        auxiliary_head=dict(type='WindowPSPHead', in_channels=48, in_index=2, num_classes=4,
                            windows=('global', 2)),
    )  # fmt: skip
