# From the zoo's network for streets in 25 minutes of two CPU cores: for pairs of other streets.
_base_ = './psp_efficientnet-lite2_cpu25_cityscapes_pairs.py'

weights = 'zoo://psp_efficientnet-lite2'
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=weights, prefix='backbone.')),
    decode_head=dict(
        channels=56,
        init_cfg=dict(type='Pretrained', checkpoint=weights, prefix='decode_head.'),
    ),
)
