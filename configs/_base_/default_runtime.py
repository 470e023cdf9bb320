# Importing the plugin registers its datasets, backbone and heads.
custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)

default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Models have plain BN; in distributed training it becomes torch's SyncBN.
sync_bn = 'torch'
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Atomic writes; the interval is that of the validations, see `save_best`.
    checkpoint=dict(
        type='WholeCheckpointHook',
        by_epoch=False,
        interval=2000,
        max_keep_ckpts=3,
        save_best='mIoU',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
# A NaN or infinite loss stops the training; skipped pairs are reported; run_record.json keeps what
# a table of results needs.
custom_hooks = [
    dict(type='NonFiniteLossHook'),
    dict(type='BadPairsHook'),
    dict(type='RunRecordHook'),
]
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False

tta_model = dict(type='SegTTAModel')
