# The article's network with a channel per class and cross-entropy.
_base_ = [
    '_base_/models/psp_article.py',
    '_base_/datasets/cityscapes_pairs.py',
    '_base_/schedules/schedule_20k.py',
    '_base_/default_runtime.py',
]

data_preprocessor = dict(size={{_base_.crop_size}})
model = dict(data_preprocessor=data_preprocessor)
# Feature maps at full resolution take much memory, so batches are small. The learning rate stays
# that of batches of 16.
train_dataloader = dict(batch_size=4)
