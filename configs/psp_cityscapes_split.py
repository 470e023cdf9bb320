# The network of psp_cityscapes_pairs.py, trained by the stock dataset from pairs that
# tools/dataset_converters/split_pairs.py has split.
_base_ = [
    '_base_/datasets/cityscapes_split.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

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
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    # Stride 8 after three stages; two more keep it and widen the view by dilation, as in the paper.
    backbone=dict(
        type='DilatedResidualNet',
        widths=((32, 32, 64), (64, 64, 128), (128, 128, 256), (128, 128, 256), (256, 256, 512)),
        blocks=(1, 2, 2, 2, 2),
        strides=(2, 2, 2, 1, 1),
        dilations=(1, 1, 1, 2, 4),
        out_indices=(0, 1, 2, 3, 4),
        bias=False,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='FastPSPHead',
        in_channels=512,
        in_index=4,
        channels=128,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=256,
        in_index=3,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        # 0.4 is the paper's weight of the auxiliary loss.
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True, loss_weight=0.4
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
