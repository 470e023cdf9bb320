# The reference: stock PSPNet on ResNetV1c-50 by MMSegmentation's own recipe (SGD, batches of 8,
# float32), from scratch, for 25 minutes. The pairs, the time limit and the hooks are ours.
_base_ = [
    '_base_/models/pspnet_r50-d8.py',
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
model = dict(data_preprocessor=data_preprocessor)

train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(batch_size=4, num_workers=1)
test_dataloader = val_dataloader
# Few iterations fit into the time, and a killed run shall not lose many.
default_hooks = dict(checkpoint=dict(interval=100))
# One validation, at the end, which takes up to 300 seconds of two cores.
train_cfg = dict(type='ClockTrainLoop', minutes=25, reserve=300, val_interval=20000)
randomness = dict(seed=0)
