"""Labels at fewer pixels, for a loss that costs less.

Logits are computed at a fraction of the picture's size, and stock heads upsample them to the size
of the labels, which takes as long as a good part of the network. Labels at every second pixel in
both directions still say what is where as finely as logits of stride 4 or more can follow, and
random crops bring all pixels in over the epochs.

Shape shorthand in this module: H, W: height and width of the picture; s: stride.
"""

from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS
from numpy.random import randint


@TRANSFORMS.register_module()
class SubsampleLabels(BaseTransform):
    """Keeps the labels of every s-th pixel in both directions; the picture stays as it is.

    The samples lie in the middle of the s x s pixels that each stands for; where that is between
    two pixels, either is taken at random, once for a picture, so that edges do not move on average.

    Required and modified keys: ``gt_seg_map``, (H, W) to (ceil(H / s), ceil(W / s)), and any other
    in ``seg_fields``. Crop, pad and flip before: the framework pads pictures that are smaller than
    the network's input, and cannot pad these labels alike.

    Args:
        stride: s.

    Raises:
        ValueError: it is below 1.
    """

    def __init__(self, *, stride: int = 2) -> None:
        if stride < 1:
            raise ValueError(f'SubsampleLabels: stride={stride}: expected a number from 1 up')
        self.stride = stride

    @cache_randomness
    def _draw(self) -> tuple[int, int]:
        low, high = (self.stride - 1) // 2, self.stride // 2
        return randint(low, high + 1), randint(low, high + 1)

    def transform(self, results: dict) -> dict:
        """Subsample the label maps of a sample."""
        y, x = self._draw()
        for key in results.get('seg_fields', []):
            # What a picture's remainder lacks in the middle, its last pixel stands for.
            maps = results[key]
            rows = [min(i + y, maps.shape[0] - 1) for i in range(0, maps.shape[0], self.stride)]
            columns = [min(i + x, maps.shape[1] - 1) for i in range(0, maps.shape[1], self.stride)]
            results[key] = maps[rows][:, columns]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(stride={self.stride})'
