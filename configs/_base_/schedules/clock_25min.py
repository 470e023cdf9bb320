# The recipe of muon_20k.py within 25 minutes of wall clock, everything included. An iteration of
# the schedule is a ten-thousandth of that time, so the warm-up takes 75 seconds.
_base_ = './muon_20k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=1.0, begin=500, end=10000, by_epoch=False),
]
# The only validation comes last; `reserve` keeps 45 seconds of the time for it.
train_cfg = dict(type='ClockTrainLoop', minutes=25, reserve=45, max_iters=10000, val_interval=10000)
