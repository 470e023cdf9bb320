"""Base of backbones whose leading stages can be frozen and whose norms can be kept in eval mode."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class StagedBackbone(BaseModule):
    """Backbone of stages.

    Attributes:
        frozen_stages: Number of leading stages without gradient and with norms in eval mode; 0 or
            -1 for none.
        norm_eval: If true, all batch norms stay in eval mode while training.
    """

    frozen_stages: int
    norm_eval: bool

    def frozen_parts(self) -> Iterable[nn.Module]:
        """Return the modules of the frozen stages."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialize the weights; frozen ones without ``Pretrained`` among them get a warning."""
        super().init_weights()
        sources = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg or {}]
        if self.frozen_stages > 0 and all(source.get('type') != 'Pretrained' for source in sources):
            print_log(
                f'{type(self).__name__}: frozen_stages={self.frozen_stages} without Pretrained '
                'weights: these stages stay random, unless load_from or resume fills them',
                'current',
                logging.WARNING,
            )

    def train(self, mode: bool = True) -> Any:
        """Switch modes, except of frozen stages and, with ``norm_eval``, of batch norms."""
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def freeze(self) -> None:
        """Freeze the leading stages, once they are built."""
        for part in self.frozen_parts():
            part.eval()
            part.requires_grad_(False)


class CheckpointedBlock(BaseModule):
    """Block whose feature maps inside are computed again in the backward pass, if ``with_cp``."""

    def __init__(self, *, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp

    def run(self, x: Tensor) -> Tensor:
        """Compute the block."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block, with gradient checkpointing where it is on."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self.run, x, use_reentrant=False)
        return self.run(x)
