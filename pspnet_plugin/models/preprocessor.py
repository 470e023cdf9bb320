"""The article's input: each image scaled to [0, 1] by its own smallest and largest value.

Stock ``SegDataPreProcessor`` subtracts a fixed mean and divides by a fixed standard deviation.

Shape shorthand in this module: N: batch; H, W: size of an image.
"""

from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor


def min_max(x: Tensor) -> Tensor:
    """Scale each image to [0, 1] by its extremes over all channels.

    Args:
        x: (..., 3, H, W) of any dtype.

    Returns:
        float32; zero for an image of a single value.

    Source: the article's ``cv2.normalize(..., 0, 1, NORM_MINMAX)``.
    """
    x = x.float()
    low, high = (f(x, dim=(-3, -2, -1), keepdim=True) for f in (Tensor.amin, Tensor.amax))
    span = high - low
    return (x - low) / span.where(span > 0, 1)


@MODELS.register_module()
class MinMaxDataPreProcessor(SegDataPreProcessor):
    """``SegDataPreProcessor`` with ``min_max`` instead of mean and std.

    It scales what the pipeline returns: a whole image in tests, a crop if the pipeline crops.
    Padding comes later, so it does not change the extremes. The article scales a pair before it
    splits it, label half included, which a photo without labels could not repeat.

    Args:
        **kwargs: Arguments of ``SegDataPreProcessor`` except ``mean`` and ``std``.

    Raises:
        ValueError: ``mean`` or ``std`` is given.
    """

    def __init__(self, **kwargs) -> None:
        if kwargs.get('mean') is not None or kwargs.get('std') is not None:
            raise ValueError(
                f'MinMaxDataPreProcessor: mean={kwargs.get("mean")}, std={kwargs.get("std")}, but '
                'it scales each image by its own extremes. Remove them, or use SegDataPreProcessor.'
            )
        super().__init__(**kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Scale each image (3, H, W), then stack and pad as stock: (N, 3, H, W) float32."""
        data = self.cast_data(data)  # to the device, where scaling costs nothing
        scaled = [min_max(image) for image in data['inputs']]
        return super().forward({**data, 'inputs': scaled}, training)
