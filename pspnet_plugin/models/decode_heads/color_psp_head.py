"""The article's output: a colour for each pixel, regressed to the colour-coded label map.

Differs from stock heads: it predicts three channels whatever the number of classes, and derives
logits from their distances to the palette.

Shape shorthand in this module: N: batch; C: input channels; K: classes; H, W: size of the feature
map; H', W': size of the label maps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.losses import accuracy
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from pspnet_plugin.labels.palettes import Color, check_colors, known_palettes
from pspnet_plugin.models.backbones.dilated_residual_net import ARTICLE_NORM
from pspnet_plugin.models.decode_heads.window_psp_head import WindowPSPHead
from pspnet_plugin.models.losses import ColorLoss


@MODELS.register_module()
class ColorPSPHead(WindowPSPHead):
    """``WindowPSPHead`` that predicts colours: three output channels, a sigmoid, RGB.

    The logits are minus the squared distances from the predicted colour to the classes' colours, so
    the nearest colour wins. As distances are squared, averaging or interpolating logits, as sliding
    windows and resizing do, decides like averaging or interpolating colours.

    Training regresses the colours of the labelled classes; pixels of ``ignore_index`` do not count.
    The article regresses the colour that the label image has there.

    Args:
        in_channels: C, or with ``input_transform='resize_concat'`` those of each input.
        channels: Channels shared among the levels, C by default.
        num_classes: K.
        palette: RGB colour of each class, 0 to 255: a list, or the name of a known palette such as
            ``'cityscapes'`` or of a dataset such as ``'LoveDADataset'``.
        last_norm_cfg: Norm behind the last convolution.
        loss_decode: One or several ``ColorLoss``.
        **kwargs: Arguments of ``WindowPSPHead``.

    Raises:
        ValueError: An argument is invalid.

    Source: the article's ``last_conv_module``.
    """

    palette: Tensor

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int | None = None,
        *,
        num_classes: int,
        palette: str | Sequence[Sequence[int]],
        last_norm_cfg: dict | None = ARTICLE_NORM,
        loss_decode: dict | list[dict] = dict(type='ColorLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        colors = _read_palette(palette)
        if len(colors) != num_classes:
            raise ValueError(
                f'ColorPSPHead: num_classes={num_classes}, but the palette has {len(colors)} '
                'colours; expected one per class'
            )
        for key in ('out_channels', 'threshold', 'sampler'):
            if kwargs.get(key) is not None:
                raise ValueError(
                    f'ColorPSPHead: {key}={kwargs[key]!r} is for heads that output logits. Remove '
                    'it, or use WindowPSPHead.'
                )
        super().__init__(
            in_channels, channels, num_classes=num_classes, loss_decode=loss_decode, **kwargs
        )
        for loss in self._losses():
            if not isinstance(loss, ColorLoss):
                raise ValueError(
                    f'ColorPSPHead: loss_decode holds a {type(loss).__name__}, but the head '
                    "regresses colours. Use dict(type='ColorLoss')."
                )
        self.conv_seg = self._last_conv(3)
        self.last_norm = build_norm_layer(last_norm_cfg, 3)[1] if last_norm_cfg else nn.Identity()
        self.register_buffer('palette', torch.tensor(colors) / 255, persistent=False)  # (K, 3)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits, -3 to 0: (N, K, H, W), at least float32."""
        return self._logits(self.predict_color(inputs))

    def predict_color(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the predicted colours, RGB, 0 to 1: (N, 3, H, W), at least float32."""
        return self._before_sigmoid(feats).sigmoid()

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict
    ) -> dict[str, Tensor]:
        """Return losses by name, and ``acc_seg``, the percentage of right labelled pixels."""
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)  # (N, H', W')
        x = self._before_sigmoid(inputs)  # (N, 3, H, W)
        if x.shape[2:] != labels.shape[1:]:
            x = resize(x, labels.shape[1:], mode='bilinear', align_corners=self.align_corners)
        labelled = labels != self.ignore_index
        target = F.embedding(labels * labelled, self.palette).permute(0, 3, 1, 2).to(x.dtype)
        losses: dict[str, Tensor] = {}
        for loss in self._losses():
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + loss(x, target, labelled)
        with torch.no_grad():
            logits = self._logits(x.sigmoid())
        losses['acc_seg'] = accuracy(logits, labels, ignore_index=self.ignore_index)
        return losses

    def _before_sigmoid(self, inputs: Sequence[Tensor]) -> Tensor:
        x = self.last_norm(self.conv_seg(self._concat(inputs)))  # (N, 3, H, W)
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def _logits(self, color: Tensor) -> Tensor:
        """Turn colours (N, 3, H, W) into minus squared distances (N, K, H, W).

        |c - p|^2 = |c|^2 - 2 c p + |p|^2, so K distances cost one product with the palette.
        """
        with torch.autocast(color.device.type, enabled=False):
            palette = self.palette.to(color.dtype)
            weight, bias = 2 * palette, -palette.square().sum(1)
            near = F.conv2d(color, weight[:, :, None, None], bias)
            return near - color.square().sum(1, keepdim=True)

    def _losses(self) -> list[ColorLoss]:
        many = isinstance(self.loss_decode, nn.ModuleList)
        return list(self.loss_decode) if many else [self.loss_decode]


def _read_palette(palette: str | Sequence[Sequence[int]]) -> list[Color]:
    if isinstance(palette, str):
        known = known_palettes()
        if palette not in known:
            raise ValueError(
                f'ColorPSPHead: palette={palette!r}; expected one of {", ".join(known)}, or a list '
                'of colours'
            )
        colors = known[palette]['palette']
    else:
        colors = palette
    colors = list(check_colors(colors, name='ColorPSPHead: palette'))
    if repeated := sorted({color for color in colors if colors.count(color) > 1}):
        raise ValueError(
            f'ColorPSPHead: palette repeats {repeated}; expected another colour for each class'
        )
    return colors
