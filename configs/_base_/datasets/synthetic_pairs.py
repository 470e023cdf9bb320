# Street scenes that `make_pairs.py synthetic` generates. They vary enough by themselves: flips are
# the only augmentation.
_base_ = './cityscapes_pairs.py'

data_root = 'data/demo_pairs'
# About the inverse square root of each class's share of the pixels, more for poles: so that small
# objects are learnt within minutes, too.
class_weight = [
    0.4, 1.3, 0.6, 1.5, 1.9, 3.0, 3.6, 3.2, 0.8, 2.0, 0.6, 2.0, 2.6, 1.0, 1.3, 1.4, 1.2, 3.1, 3.1
]  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
