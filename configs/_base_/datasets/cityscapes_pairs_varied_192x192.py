# For long trainings: also smaller photos, and such as other cameras and files have them.
_base_ = './cityscapes_pairs_balanced_192x192.py'

crop_size = (192, 192)
after_resizing = [
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomDegradation', prob=0.3),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),  # BGR mean
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
loading = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_pipeline = [
    *loading,
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.25), keep_ratio=True),
    *after_resizing,
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
# The pairs are squeezed to squares, to half of their width, and a network that has seen no other
# aspect ratio loses much on photos that are not (docs/results.md): half of these are widened again.
heights = (128, 160, 192, 240, 300, 376, 460, 576)
aspects_pipeline = [
    *loading,
    dict(
        type='RandomChoiceResize',
        scales=[(int(height * aspect), height) for height in heights for aspect in (1, 1, 1.41, 2)],
        keep_ratio=False,
    ),
    *after_resizing,
]
