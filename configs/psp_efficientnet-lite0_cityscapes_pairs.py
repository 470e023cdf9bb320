# From ImageNet weights, for a GPU: 20,000 iterations.
_base_ = [
    '_base_/models/psp_efficientnet-lite0.py',
    '_base_/datasets/cityscapes_pairs_balanced_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
# The weights are near where they should be: they move less, and decay less.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15, decay_mult=0.2)))
)
