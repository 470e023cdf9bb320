"""Keras' weight initialization, for the article's networks.

Differs from mmengine's ``Kaiming`` and ``Xavier`` initializers: ``he_normal`` is a *truncated*
normal, and one entry serves convolutions of both kinds.

Shape shorthand in this module: I, O: input and output channels; k: side of the kernel.
"""

import math
from collections.abc import Sequence

from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn
from torch.nn.modules.conv import _ConvNd

# Standard deviation of a standard normal truncated at two standard deviations.
_TRUNCATED_STD = 0.87962566103423978


@WEIGHT_INITIALIZERS.register_module()
class KerasInit:
    """Initializer that draws the weights of every convolution in a module; biases are zero.

    Args:
        he_normal: Names of the modules whose convolutions get ``he_normal``: a normal of variance
            2 / (I k k), truncated at two standard deviations before it is scaled to that variance.
            All others get Keras' default, ``glorot_uniform``, of variance 2 / ((I + O) k k).

    Source: Keras' documentation of its initializers; the article's ``conv_block``.
    """

    def __init__(self, he_normal: Sequence[str] = ()) -> None:
        self.he_normal = frozenset(he_normal)

    def __call__(self, module: nn.Module) -> None:
        """Initialize ``module`` and its submodules."""
        for name, conv in module.named_modules():
            if not isinstance(conv, _ConvNd):
                continue
            # Keras too takes the fans of a transposed convolution from its kernel as it lies.
            fan_in = conv.weight[0].numel()
            fan_out = conv.weight.shape[0] * conv.weight[0, 0].numel()
            if self.he_normal & set(name.split('.')):
                std = math.sqrt(2 / fan_in) / _TRUNCATED_STD
                nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
            else:
                limit = math.sqrt(6 / (fan_in + fan_out))
                nn.init.uniform_(conv.weight, -limit, limit)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
