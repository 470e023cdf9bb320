# The recommended network with about half the channels.
_base_ = 'psp_cityscapes_pairs.py'

model = dict(
    backbone=dict(
        widths=((8, 8, 16), (16, 32, 32), (32, 48, 96), (64, 64, 128), (64, 64, 128)),
    ),
    decode_head=dict(in_channels=(32, 96, 128), channels=64),
)
