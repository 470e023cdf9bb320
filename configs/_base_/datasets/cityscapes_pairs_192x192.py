# Training crops of 192x192 for the recommended recipe (crops of 256 are worth less in equal time,
# see docs/results.md).
_base_ = './cityscapes_pairs.py'

crop_size = (192, 192)
# Share of each class among the labelled pixels to the power of -0.3, scaled to a mean of 1 over the
# pixels: rare classes count more, but far less than their rarity.
class_weight = [
    0.7, 1.3, 0.8, 2.4, 2.2, 2.4, 3.7, 2.7, 0.9, 2.1, 1.4, 2.1, 4.3, 1.2, 3.1, 3.5, 3.9, 4.5, 2.8
]  # fmt: skip

crop = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
]
pack = [
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),  # BGR mean
    # Every second pixel in both directions: the loss costs a quarter.
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
train_pipeline = [*crop, dict(type='PhotoMetricDistortion'), *pack]
# For trainings of few epochs: colour jitter costs them time and mIoU (docs/results.md).
train_pipeline_without_jitter = [*crop, *pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
