"""Mixed precision in bfloat16, on CPUs too.

Differs from stock ``AmpOptimWrapper`` in accepting CPUs, and in having no loss scale: bfloat16 has
the range of float32, so small gradients do not vanish.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

PRECISIONS = ('auto', 'bfloat16', 'float32')
DEVICES = ('cpu', 'cuda')


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Stock ``OptimWrapper`` whose forward runs under autocast; weights stay float32.

    Args:
        precision: ``'bfloat16'``, ``'float32'`` (no autocast), or ``'auto'``: bfloat16 where the
            processor or the GPU has instructions for it; elsewhere it would be slower.
        **kwargs: Arguments of ``OptimWrapper``.

    Raises:
        ValueError: the precision is none of these, or bfloat16 on a device other than these.
    """

    def __init__(self, *, precision: str = 'auto', **kwargs) -> None:
        if precision not in PRECISIONS:
            raise ValueError(
                f'AutocastOptimWrapper: precision={precision!r}: expected one of {PRECISIONS}'
            )
        super().__init__(**kwargs)
        self.device = get_device()
        if precision == 'bfloat16' and self.device not in DEVICES:
            raise ValueError(
                f'AutocastOptimWrapper: bfloat16 runs on {" and ".join(DEVICES)}, and this device '
                f"is {self.device!r}; expected precision='auto' or 'float32'"
            )
        if precision == 'auto':
            precision = 'bfloat16' if has_fast_bfloat16(self.device) else 'float32'
            print_log(f'Training in {precision} on this {self.device}.', logger='current')
        self.precision = precision

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Wrap the forward of a step."""
        enabled = self.precision == 'bfloat16'
        device = self.device if enabled else 'cpu'  # autocast refuses some devices even disabled
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled):
            yield


def has_fast_bfloat16(device: str) -> bool:
    """Return whether a device multiplies in bfloat16: Ampere GPUs, CPUs with AVX512-BF16 or AMX."""
    if device not in DEVICES:
        return False
    if device == 'cuda':
        return torch.cuda.get_device_capability() >= (8, 0)
    # Neither is public yet, and older versions of torch lack them.
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(getattr(torch.cpu, check, bool)() for check in checks)
