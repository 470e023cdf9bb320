# Dilated-residual backbone at strides 4, 8 and 16 under the paper's pyramid. The numbers of
# channels and blocks are our choice; docs/results.md compares some others.
norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    # Few channels where feature maps are large, many where they are small.
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
        # 'none': the framework averages the losses of the pixels. The loss of upstream
        # MMSegmentation cannot, with class weights and ignored pixels.
        loss_decode=dict(type='CrossEntropyLoss', reduction='none'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
