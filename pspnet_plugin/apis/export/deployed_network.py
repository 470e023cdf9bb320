"""From image to label map in one module, for exporters.

Unlike a stock segmentor it takes one tensor and returns two, without data samples, and it can
include the normalisation.

Shape shorthand in this module: N: batch; K: output channels; H, W: height and width of the image.
"""

import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from pspnet_plugin.models.preprocessor import MinMaxDataPreProcessor, min_max


class DeployedNetwork(nn.Module):
    """Whole-image inference of a segmentor in eval mode, and its post-processing.

    If ``normalize``, it takes images as they are, 0 to 255, and normalises them. ``ValueError``:
    an 8-bit label map cannot hold its classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: EncoderDecoder, *, normalize: bool) -> None:
        super().__init__()
        if model.out_channels > 256:
            raise ValueError(
                f'the network has {model.out_channels} classes, and an 8-bit label map holds 256'
            )
        self.model = model
        self.normalize = normalize
        self.by_min_max = isinstance(model.data_preprocessor, MinMaxDataPreProcessor)
        mean, std = mean_and_std(model)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Label images, (N, 3, H, W) in the network's own channel order.

        They are 0 to 255, uint8 or float, if ``normalize``; else float and normalised. Returns
        class indices (N, H, W), uint8, and the logits (N, K, H, W) they come from. With one output
        channel the index is 1 where the sigmoid exceeds the head's threshold.
        """
        x = images
        if self.normalize:
            x = min_max(x) if self.by_min_max else (x.float() - self.mean) / self.std
        logits = self._logits(x)
        if logits.shape[1] == 1:
            labels = logits[:, 0].sigmoid() > self.model.decode_head.threshold
        else:
            labels = logits.argmax(1)
        return labels.to(torch.uint8), logits

    def _logits(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        if not _is_plain(self.model):
            metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)]
            return self.model.encode_decode(x, metas)
        # As encode_decode, but without stock resize, whose warning fixes the size in a trace.
        head = self.model.decode_head
        logits = head(self.model.extract_feat(x))
        return F.interpolate(logits, size, mode='bilinear', align_corners=head.align_corners)


def mean_and_std(model: EncoderDecoder) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the three channels; ``ValueError`` if not three."""
    preprocessor = model.data_preprocessor
    if not preprocessor._enable_normalize:
        return [0.0] * 3, [1.0] * 3
    mean, std = (values.flatten().tolist() for values in (preprocessor.mean, preprocessor.std))
    if len(mean) == len(std) == 1:
        mean, std = mean * 3, std * 3
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(
            f'data_preprocessor: mean={mean}, std={std}: expected three values each, as '
            'photos have three channels'
        )
    return mean, std


def _is_plain(model: EncoderDecoder) -> bool:
    """Return whether its logits are those of the head, upsampled."""
    head = model.decode_head
    return (
        type(model).encode_decode is EncoderDecoder.encode_decode
        and isinstance(head, BaseDecodeHead)
        and type(head).predict is BaseDecodeHead.predict
        and type(head).predict_by_feat is BaseDecodeHead.predict_by_feat
    )
