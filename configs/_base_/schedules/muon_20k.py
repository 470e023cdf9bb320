# The recommended recipe, of as many iterations as schedule_20k.py. docs/results.md compares the
# optimizer, its learning rate and its weight decay with others on held-out pairs.
optim_wrapper = dict(
    type='AutocastOptimWrapper',
    precision='auto',
    optimizer=dict(type='ConvMuon', lr=0.02, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=1.0, begin=500, end=20000, by_epoch=False),
]
train_cfg = dict(type='ResumableTrainLoop', max_iters=20000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
