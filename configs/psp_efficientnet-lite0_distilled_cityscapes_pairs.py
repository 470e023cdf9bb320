# A small network for CPUs: EfficientNet-Lite0 that sees photos as large as they are. It learns from
# pseudo-labels by psp_efficientnet-lite2 (docs/transfer.md makes the pairs).
_base_ = './psp_efficientnet-lite0_cityscapes_pairs.py'

model = dict(backbone=dict(test_scale=1))
pairs = dict(
    data_root='{{$PSEUDO_ROOT:data/cityscapes_pseudo}}', pipeline={{_base_.aspects_pipeline}}
)
train_dataloader = dict(dataset=dict(dataset=pairs))
