# The recommended network: dilated-residual backbone at strides 4, 8 and 16 under the paper's head.
# psp_cpu25_cityscapes_pairs.py is the same network for 25 minutes of a CPU, without colour jitter.
_base_ = [
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/muon_20k.py',
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
    # Few maps where they are large, many where they are small.
    backbone=dict(
        type='DilatedResidualNet',
        widths=((8, 16, 32), (32, 64, 64), (64, 96, 192), (128, 128, 256), (128, 128, 256)),
        blocks=(1, 2, 3, 3, 3),
        strides=(2, 2, 2, 2, 1),
        dilations=(1, 1, 1, 1, 2),
        out_indices=(1, 2, 4),
        identity_shortcuts=True,
        channels_last=True,
        bias=False,
        norm_cfg=norm_cfg,
    ),
    # The pyramid over strides 4, 8 and 16.
    decode_head=dict(
        type='FastPSPHead',
        input_transform='resize_concat',
        in_channels=(64, 192, 256),
        in_index=(0, 1, 2),
        channels=96,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        # The mean is left to the framework ('none'): with weights, the loss of upstream mmseg
        # cannot average over pictures with ignored pixels.
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
