# The network of psp_cityscapes_pairs.py, trained through the stock dataset on the files that
# split_pairs.py makes of pairs.
_base_ = [
    '_base_/models/psp_dilated.py',
    '_base_/datasets/cityscapes_split_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
