# The recommended network: dilated-residual backbone at strides 4, 8 and 16 under the paper's head.
# psp_cpu25_cityscapes_pairs.py is the same network for 25 minutes of a CPU, without colour jitter.
_base_ = [
    '_base_/models/psp_dilated.py',
    '_base_/datasets/cityscapes_pairs_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
