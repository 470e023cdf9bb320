# Twenty-five minutes of wall clock, everything included; the schedule's iterations are ten
# thousandths of that time. What choices scored on held-out pairs so far: docs/results.md.
optim_wrapper = dict(
    type='AutocastOptimWrapper',
    precision='auto',
    optimizer=dict(type='ConvMuon', lr=0.02, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=1.0, begin=500, end=10000, by_epoch=False),
]
train_cfg = dict(type='ClockTrainLoop', minutes=25, reserve=45, max_iters=10000, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='WholeCheckpointHook',
        by_epoch=False,
        interval=500,
        max_keep_ckpts=1,
        save_optimizer=True,
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
