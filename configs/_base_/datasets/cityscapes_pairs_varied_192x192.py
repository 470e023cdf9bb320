# For long trainings: also smaller photos, and such as other cameras and files have them.
_base_ = './cityscapes_pairs_balanced_192x192.py'

crop_size = (192, 192)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomDegradation', prob=0.3),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),  # BGR mean
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
