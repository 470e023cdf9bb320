# A small member of the family for `make demo`: minutes on two CPU cores, on generated pairs.
_base_ = [
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_root = 'data/demo_pairs'
norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(256, 256),
)
# About the inverse root of each class's share of the pixels, more for poles: so that small things
# are learnt within minutes too.
class_weight = [
    0.4, 1.3, 0.6, 1.5, 1.9, 3.0, 3.6, 3.2, 0.8, 2.0, 0.6, 2.0, 2.6, 1.0, 1.3, 1.4, 1.2, 3.1, 3.1
]  # fmt: skip
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='DilatedResidualNet',
        widths=((8, 8, 16), (24, 24, 48), (48, 48, 96), (64, 64, 128)),
        blocks=(1, 1, 1, 2),
        strides=(2, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(0, 1, 2, 3),
        bias=False,
        norm_cfg=norm_cfg,
    ),
    # The pyramid over stride 8 and, for poles and signs, stride 4.
    decode_head=dict(
        type='FastPSPHead',
        input_transform='resize_concat',
        in_channels=(48, 128),
        in_index=(1, 3),
        channels=32,
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

# Generated scenes vary enough by themselves: flips are all the augmentation that a few passes need.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

max_iters = 600
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.006, weight_decay=0.01)
)
param_scheduler = [dict(type='OneCycleLR', eta_max=0.006, total_steps=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters, val_interval=200)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(_delete_=True, type='WholeCheckpointHook', by_epoch=False, interval=200),
)
randomness = dict(seed=0)
