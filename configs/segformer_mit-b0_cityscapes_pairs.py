# A reference of another kind: stock SegFormer-B0 with its own optimizer, from scratch.
_base_ = [
    '_base_/models/segformer_mit-b0.py',
    '_base_/datasets/cityscapes_pairs_192x192.py',
    '_base_/schedules/adamw_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
