# The article's network with a class for each colour: three dilated blocks at full resolution,
# pyramid windows global, 2, 4 and 8, one 3x3 convolution to the classes, cross-entropy.
_base_ = [
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(
    type='SegDataPreProcessor',
    # The article scales pictures to 0..1.
    mean=[0, 0, 0],
    std=[255, 255, 255],
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
        type='WindowPSPHead',
        in_channels=256,
        in_index=2,
        windows=('global', 2, 4, 8),
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
# Every map is at full resolution, and so takes memory: batches are small. The learning rate stays
# that of batches of 16.
train_dataloader = dict(batch_size=4)
