# psp_efficientnet-lite2 with photos of other aspect ratios: 75 minutes more of two CPU cores, from
# what psp_efficientnet-lite2_cityscapes_pairs.py has trained.
_base_ = './psp_efficientnet-lite2_cityscapes_pairs.py'

train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.aspects_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.006))  # a third: most is learnt already
train_cfg = dict(type='ClockTrainLoop', minutes=75)
load_from = 'work_dirs/psp_efficientnet-lite2_cityscapes_pairs/iter_20000.pth'
