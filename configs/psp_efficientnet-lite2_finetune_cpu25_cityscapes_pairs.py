# From the zoo's network for streets in 25 minutes of two CPU cores: for pairs of other streets.
_base_ = './psp_efficientnet-lite2_cpu25_cityscapes_pairs.py'

checkpoint = 'zoo://psp_efficientnet-lite2'
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=checkpoint, prefix='backbone.')),
    decode_head=dict(
        channels=56,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='decode_head.'),
    ),
)
