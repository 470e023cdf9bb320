# The article as it stands: the network paints the label colours, by regression to them.
_base_ = [
    '_base_/models/psp_article-rgb.py',
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
model = dict(data_preprocessor=data_preprocessor)
# The article does not augment: only images larger than the crop are cropped.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(type='PackSegInputs'),
]
# Feature maps at full resolution take much memory, hence the small batches.
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
# The article names no optimizer: Adam with the defaults of Keras (eps 1e-7).
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3, eps=1e-7))
