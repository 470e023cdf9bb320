# SegFormer's AdamW with 10 times its learning rate, as nothing is pretrained, for as many
# iterations as schedule_20k.py. The head learns 10 times as fast as the backbone.
_base_ = './schedule_20k.py'

optim_wrapper = dict(
    _delete_=True,
    type='AutocastOptimWrapper',
    precision='auto',
    optimizer=dict(type='AdamW', lr=0.0006, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0)
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=500, end=20000, by_epoch=False),
]
