# The article's network with a channel per class: three dilated blocks at full resolution (the
# defaults of the backbone), pyramid windows global, 2, 4 and 8, and one 3x3 convolution.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    # The article scales photos to 0..1.
    mean=[0, 0, 0],
    std=[255, 255, 255],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
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
