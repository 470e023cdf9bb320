# Pairs with classes that are in less than 30 % of the images are drawn two or three times as often.
_base_ = './cityscapes_pairs_192x192.py'

# Shares to the power of -0.15, for rare classes are drawn more often already.
class_weight = [
    0.9, 1.2, 0.9, 1.6, 1.5, 1.6, 2.0, 1.7, 1.0, 1.5, 1.2, 1.5, 2.2, 1.1, 1.8, 1.9, 2.1, 2.2, 1.7
]  # fmt: skip
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=0.3,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
