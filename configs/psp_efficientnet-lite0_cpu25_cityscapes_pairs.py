# From ImageNet weights in 25 minutes of two CPU cores.
_base_ = [
    '_base_/models/psp_efficientnet-lite0.py',
    '_base_/datasets/cityscapes_pairs_balanced_192x192.py',
    '_base_/schedules/clock_25min.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(frozen_stages=3),  # strides 2, 4 and 8: in so short a time best left alone
    decode_head=dict(loss_decode=loss_decode),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.07, decay_mult=0.2)))
)
train_dataloader = dict(num_workers=1)
val_dataloader = dict(batch_size=4, num_workers=1)
test_dataloader = val_dataloader
# There is one validation, so there is no best checkpoint to keep.
checkpoint = dict(type='WholeCheckpointHook', by_epoch=False, interval=500, max_keep_ckpts=1)
default_hooks = dict(checkpoint=dict(_delete_=True, **checkpoint, save_optimizer=True))
randomness = dict(seed=0)
