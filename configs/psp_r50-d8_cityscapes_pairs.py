# Stock ResNet-50 at stride 8 under our head, with the sizes of the stock PSPNet.
_base_ = [
    '_base_/models/pspnet_r50-d8.py',
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
model = dict(
    data_preprocessor=data_preprocessor,
    # From scratch, so that it needs no download. With a network connection:
    # --cfg-options model.pretrained=open-mmlab://resnet50_v1c
    pretrained=None,
    decode_head=dict(
        type='FastPSPHead',
        loss_decode=dict(
            _delete_=True, type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True
        ),
    ),
    auxiliary_head=dict(loss_decode=dict(avg_non_ignore=True)),
)
