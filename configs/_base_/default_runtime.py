# Importing the plugin registers its datasets, backbone and heads.
custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)

default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Plain BN in the models; with several processes it becomes torch's SyncBN.
sync_bn = 'torch'
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
# A loss that is NaN or infinite stops the run; pairs that were left out are reported;
# run_record.json keeps what a table of results needs.
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
