# Stock ResNet-50 under our head, from MMSegmentation's ImageNet weights, which are downloaded.
_base_ = './psp_r50-d8_cityscapes_pairs.py'

model = dict(pretrained='open-mmlab://resnet50_v1c')
