# The recommended network with more channels and blocks.
_base_ = 'psp_cityscapes_pairs.py'

model = dict(
    backbone=dict(
        widths=((8, 16, 32), (32, 64, 96), (96, 128, 256), (192, 192, 384), (192, 192, 384)),
        blocks=(1, 3, 4, 6, 3),
    ),
    decode_head=dict(in_channels=(96, 256, 384), channels=128),
)
