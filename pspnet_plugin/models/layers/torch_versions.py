"""What torch calls otherwise before version 2.4."""

import torch

# torch before 2.3 has it elsewhere; compiled graphs know both.
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling


def autocast_dtype(device: str) -> torch.dtype | None:
    """What operators compute in under autocast on a type of device; None without autocast."""
    if hasattr(torch, 'get_autocast_dtype'):
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
