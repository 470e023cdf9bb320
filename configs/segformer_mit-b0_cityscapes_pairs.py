# An outside reference of another kind: stock SegFormer-B0 by its own optimizer, from scratch.
_base_ = [
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (192, 192)
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=crop_size,
)
# Shares of the classes among labelled pixels to the power of -0.3, scaled so that their mean over
# the pixels is 1: rare classes count more, but far less than their rarity.
class_weight = [
    0.7, 1.3, 0.8, 2.4, 2.2, 2.4, 3.7, 2.7, 0.9, 2.1, 1.4, 2.1, 4.3, 1.2, 3.1, 3.5, 3.9, 4.5, 2.8
]  # fmt: skip
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='MixVisionTransformer',
        in_channels=3,
        embed_dims=32,
        num_stages=4,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', reduction='none', class_weight=class_weight),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),
    # Every second pixel is scored: the loss costs a quarter.
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# Its paper's AdamW; ten times the learning rate, as nothing is pretrained, and for the head ten
# times that.
optim_wrapper = dict(
    _delete_=True,
    type='AutocastOptimWrapper',
    precision='auto',
    optimizer=dict(type='AdamW', lr=0.0006, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0)
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=500, end=20000, by_epoch=False),
]
