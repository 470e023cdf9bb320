# 600 iterations of AdamW under one cycle of the learning rate: minutes on two CPU cores.
max_iters = 600
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.006, weight_decay=0.01))
param_scheduler = [dict(type='OneCycleLR', eta_max=0.006, total_steps=max_iters, by_epoch=False)]
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
