# A tiny network for `make demo`: minutes on two CPU cores, on generated pairs.
_base_ = [
    '_base_/models/psp_dilated_tiny.py',
    '_base_/datasets/synthetic_pairs.py',
    '_base_/schedules/adamw_600.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(_delete_=True, type='WholeCheckpointHook', by_epoch=False, interval=200),
)
randomness = dict(seed=0)
