# Photos in ROOT/img_dir/{train,val} and label maps in ROOT/ann_dir/{train,val}, as split_pairs.py
# writes them, through the stock dataset; the environment variable SPLIT_ROOT sets the root.
_base_ = './cityscapes_pairs_192x192.py'

dataset_type = 'CityscapesDataset'
data_root = '{{$SPLIT_ROOT:data/cityscapes_split}}'
files = dict(
    type=dataset_type,
    data_root=data_root,
    img_suffix='.png',
    seg_map_suffix='.png',
    reduce_zero_label=False,
)
train_dataloader = dict(
    dataset=dict(**files, data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'))
)
val_dataloader = dict(
    dataset=dict(**files, data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'))
)
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
