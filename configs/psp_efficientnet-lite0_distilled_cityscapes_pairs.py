# A small network for CPUs: EfficientNet-Lite0 on photos shrunk to 192x192. It learns from labels of
# psp_efficientnet-lite2 (docs/transfer.md has the commands); TAUGHT_ROOT names their pairs.
_base_ = [
    '_base_/models/psp_efficientnet-lite0.py',
    '_base_/datasets/cityscapes_pairs_aspects_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(test_scale=0.75),
    decode_head=dict(channels=56, loss_decode=loss_decode),  # a file of 7 MB in float16
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=0.2)))
)
train_dataloader = dict(
    dataset=dict(dataset=dict(data_root='{{$TAUGHT_ROOT:data/cityscapes_taught}}'))
)
