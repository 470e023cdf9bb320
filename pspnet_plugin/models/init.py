"""Initial weights as Keras draws them, for the networks of the article.

Shape shorthand in this module: I, O: input and output maps; k: side of the kernel.
"""

import math
from collections.abc import Sequence

from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn
from torch.nn.modules.conv import _ConvNd

# Standard deviation of a standard normal cut off at two standard deviations.
_CUT_STD = 0.87962566103423978


@WEIGHT_INITIALIZERS.register_module()
class KerasInit:
    """Draws the weights of every convolution in a module; biases are zero.

    Differs from mmengine's ``Kaiming`` and ``Xavier`` in that ``he_normal`` is a *truncated*
    normal, and in that one entry serves convolutions of both kinds.

    Args:
        he_normal: Names of the modules whose convolutions get ``he_normal``: a normal of variance
            2 / (I k k), cut off at two standard deviations before it is scaled to that variance.
            All others get Keras' default, ``glorot_uniform``, of variance 2 / ((I + O) k k).

    Source: Keras' documentation of its initializers; the article's ``conv_block``.
    """

    def __init__(self, he_normal: Sequence[str] = ()) -> None:
        self.he_normal = frozenset(he_normal)

    def __call__(self, module: nn.Module) -> None:
        """Draws the weights of ``module`` and of what is in it."""
        for name, conv in module.named_modules():
            if not isinstance(conv, _ConvNd):
                continue
            # Keras too takes the fans of a transposed convolution from its kernel as it lies.
            fan_in = conv.weight[0].numel()
            fan_out = conv.weight.shape[0] * conv.weight[0, 0].numel()
            if self.he_normal & set(name.split('.')):
                std = math.sqrt(2 / fan_in) / _CUT_STD
                nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
            else:
                limit = math.sqrt(6 / (fan_in + fan_out))
                nn.init.uniform_(conv.weight, -limit, limit)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
