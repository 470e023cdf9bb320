# Stock ResNetV1c-18 at stride 8 under our head, by our recipe; pspnet_r18-d8_cityscapes_pairs.py
# has the stock head and recipe.
_base_ = [
    '_base_/models/psp_r18-d8.py',
    '_base_/datasets/cityscapes_pairs_192x192.py',
    '_base_/schedules/muon_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
loss_decode = dict(class_weight={{_base_.class_weight}})
model = dict(data_preprocessor=data_preprocessor, decode_head=dict(loss_decode=loss_decode))
