# From ImageNet weights: 20,000 iterations, hours of two CPU cores.
_base_ = [
    '_base_/models/psp_efficientnet-lite0.py',
    '_base_/datasets/cityscapes_pairs_varied_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(channels=56, loss_decode=loss_decode),  # a file of 7 MB in float16
)
# The weights are near where they should be: they move less, and decay less.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=0.2)))
)
