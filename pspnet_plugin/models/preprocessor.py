"""The article's input: each picture scaled to [0, 1] by its own smallest and largest value.

Shape shorthand in this module: N: batch; H, W: height and width of the picture.
"""

from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor


def min_max(x: Tensor) -> Tensor:
    """Scales each picture to [0, 1] by its extremes over all channels.

    Args:
        x: (..., 3, H, W) of any dtype.

    Returns:
        float32; zero where a picture has a single value.

    Source: the article's ``cv2.normalize(..., 0, 1, NORM_MINMAX)``.
    """
    x = x.float()
    low, high = (f(x, dim=(-3, -2, -1), keepdim=True) for f in (Tensor.amin, Tensor.amax))
    span = high - low
    return (x - low) / span.where(span > 0, 1)


@MODELS.register_module()
class MinMaxDataPreProcessor(SegDataPreProcessor):
    """Stock ``SegDataPreProcessor`` with ``min_max`` in the place of mean and std.

    What is scaled is what the pipeline gives: a whole picture in tests, a crop if the pipeline
    crops. Padding comes after, so it does not change the extremes. The article scales a pair before
    it parts it, label half and all, which a photo without labels could not repeat.

    Args:
        **kwargs: Arguments of ``SegDataPreProcessor`` but ``mean`` and ``std``.

    Raises:
        ValueError: one of these two is given.
    """

    def __init__(self, **kwargs) -> None:
        if kwargs.get('mean') is not None or kwargs.get('std') is not None:
            raise ValueError(
                'MinMaxDataPreProcessor scales each picture by its own extremes; leave out mean '
                'and std, or choose SegDataPreProcessor'
            )
        super().__init__(**kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As stock, of scaled pictures.

        Args:
            data: ``inputs``: (3, H, W) of each picture; ``data_samples``.
            training: Whether to pad to ``size``.

        Returns:
            ``inputs``: (N, 3, H, W) float32; ``data_samples``.
        """
        data = self.cast_data(data)  # to the device, where scaling costs nothing
        scaled = [min_max(picture) for picture in data['inputs']]
        return super().forward({**data, 'inputs': scaled}, training)
