# The backbone of psp_dilated.py under a stock head without a pyramid.
_base_ = './psp_dilated.py'

model = dict(
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=256,
        in_index=2,
        channels=96,
        num_convs=2,
        concat_input=True,
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode={{_base_.model.decode_head.loss_decode}},
    )
)
