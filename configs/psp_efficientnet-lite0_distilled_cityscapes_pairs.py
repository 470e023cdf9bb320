# A small network for CPUs: EfficientNet-Lite0 on photos shrunk to 192x192. It learns from labels of
# psp_efficientnet-lite2 (docs/transfer.md has the commands); TAUGHT_ROOT names their pairs.
_base_ = './psp_efficientnet-lite0_cityscapes_pairs.py'

model = dict(backbone=dict(test_scale=0.75))
train_dataloader = dict(
    dataset=dict(dataset=dict(data_root='{{$TAUGHT_ROOT:data/cityscapes_taught}}'))
)
