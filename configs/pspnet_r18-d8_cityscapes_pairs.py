# pspnet_r50-d8_cityscapes_pairs.py with ResNetV1c-18.
_base_ = 'pspnet_r50-d8_cityscapes_pairs.py'

model = dict(
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
# The validation takes up to 90 seconds of two cores.
train_cfg = dict(reserve=90)
