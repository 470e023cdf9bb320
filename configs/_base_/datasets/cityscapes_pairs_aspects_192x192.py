# For photos of other people too. The pairs are squeezed to squares, to half of their width, and a
# network that has seen no others loses much on photos that are not (docs/results.md): half of the
# crops come from photos that are widened again.
_base_ = './cityscapes_pairs_varied_192x192.py'

crop_size = (192, 192)
heights = (128, 160, 192, 240, 300, 376, 460, 576)
stretches = (1, 1, 1.41, 2)  # times the width of a square
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales=[(int(h * s), h) for h in heights for s in stretches],
        resize_type='Resize',
        keep_ratio=False,
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomDegradation', prob=0.3),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),  # BGR mean
    dict(type='SubsampleLabels', stride=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
