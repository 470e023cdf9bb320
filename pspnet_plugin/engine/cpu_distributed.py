"""Distributed runs on machines without a GPU.

mmengine's own start of a distributed run calls ``torch.cuda.set_device`` and so needs CUDA. It is
skipped when a process group exists already; this module makes one with gloo, and says which
settings of the config follow from there being no CUDA.
"""

import torch.distributed as dist
from mmengine.device import get_device

# DDP names no devices on the CPU, and SyncBN across processes needs CUDA: each process then
# normalises by its own share of the batch.
CPU_OPTIONS = (
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'model_wrapper_cfg.device_ids=None',
    'sync_bn=None',
)


def init_cpu_group() -> bool:
    """Join the gloo process group of torchrun, where there is no accelerator.

    Returns:
        Whether it did; then the config needs ``CPU_OPTIONS``.
    """
    if get_device() != 'cpu' or dist.is_initialized():
        return False
    dist.init_process_group('gloo')
    return True
