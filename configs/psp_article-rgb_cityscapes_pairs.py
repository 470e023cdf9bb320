# The article as it stands: three dilated blocks at full resolution, pyramid windows global, 2, 4
# and 8, and a 3x3 convolution that paints the label colours, regressed to them. 713,839 parameters
# with the moving statistics.
_base_ = [
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

# Each picture is scaled to 0..1 by its own extremes.
data_preprocessor = dict(
    type='MinMaxDataPreProcessor',
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(256, 256),
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='DilatedResidualNet', channels_last=True),
    decode_head=dict(
        type='ColorPSPHead',
        in_channels=256,
        in_index=2,
        windows=('global', 2, 4, 8),
        num_classes=19,
        palette='cityscapes',
        align_corners=False,
        loss_decode=dict(type='ColorLoss', criterion='mse'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
# The article does not augment. It names no optimizer: Adam with Keras' defaults (eps 1e-7).
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(256, 256)),  # whole, unless pictures are larger
    dict(type='PackSegInputs'),
]
# Every map is at full resolution, and so takes memory: batches are small.
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3, eps=1e-7), clip_grad=None)
