# Training crops of 192x192 for networks that start from ImageNet weights. Pairs with classes that
# are in less than 30 % of the images are drawn two or three times as often.
_base_ = './cityscapes_pairs.py'

crop_size = (192, 192)
# Shares to the power of -0.15, scaled: rare classes are drawn more often already.
class_weight = [
    0.9, 1.2, 0.9, 1.6, 1.5, 1.6, 2.0, 1.7, 1.0, 1.5, 1.2, 1.5, 2.2, 1.1, 1.8, 1.9, 2.1, 2.2, 1.7
]  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # Mostly larger than in tests: weights learnt from large photos find more in enlarged ones.
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.75, 2.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),  # BGR mean
    # Every second pixel in both directions: the loss costs a quarter.
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=0.3,
        dataset=dict(
            type={{_base_.dataset_type}},
            data_root={{_base_.data_root}},
            data_prefix=dict(img_path='train'),
            pipeline=train_pipeline,
        ),
    )
)
