# From ImageNet weights, for a GPU: 20,000 iterations with colour jitter.
_base_ = [
    '_base_/models/psp_efficientnet-lite0.py',
    '_base_/datasets/cityscapes_pairs_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
# The recipe of psp_efficientnet-lite0_cpu25_cityscapes_pairs.py.
optim_wrapper = dict(
    optimizer=dict(depthwise='filters'),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15, decay_mult=0.2))),
)
