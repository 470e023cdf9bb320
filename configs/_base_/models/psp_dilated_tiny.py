# A tiny member of the family of psp_dilated.py: stride 8, and stride 4 for poles and signs.
_base_ = './psp_dilated.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DilatedResidualNet',
        widths=((8, 8, 16), (24, 24, 48), (48, 48, 96), (64, 64, 128)),
        blocks=(1, 1, 1, 2),
        strides=(2, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(0, 1, 2, 3),
        bias=False,
        norm_cfg={{_base_.norm_cfg}},
    ),
    decode_head=dict(in_channels=(48, 128), in_index=(1, 3), channels=32),
)
