"""Regression of colours, the article's loss; stock losses compare classes.

Shape shorthand in this module: N: batch; H, W: size of the label map.
"""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

CRITERIA = {
    'mse': lambda x, target: F.mse_loss(x.sigmoid(), target, reduction='none'),
    'l1': lambda x, target: F.l1_loss(x.sigmoid(), target, reduction='none'),
    # Equal to the cross-entropy of the sigmoid, but finite where that is 0 or 1.
    'bce': lambda x, target: F.binary_cross_entropy_with_logits(x, target, reduction='none'),
}


@MODELS.register_module()
class ColorLoss(nn.Module):
    """Mean difference of two colours over channels and labelled pixels.

    Args:
        criterion: ``'mse'``, ``'l1'`` or ``'bce'`` (binary cross-entropy of each channel).
        loss_weight: Factor of the mean.
        loss_name: Name in logs; mmengine minimizes the sum of all values with ``loss`` in theirs.

    Raises:
        ValueError: ``criterion`` is unknown.
    """

    def __init__(
        self, criterion: str = 'mse', *, loss_weight: float = 1.0, loss_name: str = 'loss_color'
    ) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ValueError(f'ColorLoss: criterion={criterion!r}; expected one of {[*CRITERIA]}')
        self.criterion = criterion
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, x: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """Return the loss, a scalar; 0 where nothing is labelled.

        Args:
            x: (N, 3, H, W), colours before the sigmoid.
            target: (N, 3, H, W), 0 to 1.
            labelled: (N, H, W) bool.
        """
        loss = CRITERIA[self.criterion](x, target) * labelled[:, None]
        return self.loss_weight * loss.sum() / (3 * labelled.sum()).clamp(min=1)
