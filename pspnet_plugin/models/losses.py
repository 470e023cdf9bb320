"""Regression of colours, as the article trains.

Shape shorthand in this module: N: batch; H, W: height and width of the map.
"""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

CRITERIA = {
    'mse': lambda x, target: F.mse_loss(x.sigmoid(), target, reduction='none'),
    'l1': lambda x, target: F.l1_loss(x.sigmoid(), target, reduction='none'),
    # Of the sigmoid too, but finite where that is 0 or 1.
    'bce': lambda x, target: F.binary_cross_entropy_with_logits(x, target, reduction='none'),
}


@MODELS.register_module()
class ColorLoss(nn.Module):
    """Mean over channels and labelled pixels of the difference between two colours.

    Args:
        criterion: ``'mse'``, ``'l1'`` or ``'bce'`` (binary cross-entropy of each channel).
        loss_weight: Factor of the mean.
        loss_name: In logs; mmengine sums what has ``loss`` in its name, and trains by the sum.

    Raises:
        ValueError: ``criterion`` is unknown.
    """

    def __init__(
        self, criterion: str = 'mse', *, loss_weight: float = 1.0, loss_name: str = 'loss_color'
    ) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ValueError(f'ColorLoss: criterion={criterion!r}, expected one of {[*CRITERIA]}')
        self.criterion = criterion
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, x: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """The loss, a scalar; 0 where nothing is labelled.

        Args:
            x: (N, 3, H, W), colours before their sigmoid.
            target: (N, 3, H, W), 0 to 1.
            labelled: (N, H, W) bool.
        """
        loss = CRITERIA[self.criterion](x, target) * labelled[:, None]
        return self.loss_weight * loss.sum() / (3 * labelled.sum()).clamp(min=1)
