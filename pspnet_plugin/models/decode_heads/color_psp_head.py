"""The article's output: a colour a pixel, regressed to the colour mask.

Shape shorthand in this module: N: batch; C: input maps; K: classes; H, W: height and width of the
map.
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

from pspnet_plugin.labels.palettes import check_colors, known_palettes
from pspnet_plugin.models.backbones.dilated_residual_net import ARTICLE_NORM
from pspnet_plugin.models.decode_heads.window_psp_head import WindowPSPHead
from pspnet_plugin.models.losses import ColorLoss


@MODELS.register_module()
class ColorPSPHead(WindowPSPHead):
    """``WindowPSPHead`` that paints: its last convolution gives red, green and blue by a sigmoid.

    Its logits are minus the squared distances from the painted colour to the classes' colours, so
    the class is that of the nearest one. As they are squared, averaging or interpolating logits, as
    sliding windows and resizing do, decides as averaging or interpolating the colours would.

    Training regresses the colours of the labelled classes; pixels of ``ignore_index`` do not count.
    The article regresses whatever colour the mask has there.

    Args:
        in_channels: C, or with ``input_transform='resize_concat'`` those of the maps joined.
        channels: The maps shared among the levels, C by default.
        num_classes: K.
        palette: The classes' colours, RGB, 0 to 255: a list, or the name of a known palette such
            as ``'cityscapes'`` or of a dataset such as ``'LoveDADataset'``.
        last_norm_cfg: Norm behind the last convolution.
        loss_decode: One or several ``ColorLoss``.
        **kwargs: Arguments of ``WindowPSPHead``.

    Raises:
        ValueError: an argument is unusable.

    Source: the article's ``last_conv_module``.
    """

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
                'colours; expected one a class'
            )
        for key in ('out_channels', 'threshold', 'sampler'):
            if kwargs.get(key) is not None:
                raise ValueError(
                    f'ColorPSPHead: {key}={kwargs[key]!r} is for heads that give logits; leave it '
                    'out, or choose WindowPSPHead'
                )
        super().__init__(
            in_channels, channels, num_classes=num_classes, loss_decode=loss_decode, **kwargs
        )
        for loss in self._losses():
            if not isinstance(loss, ColorLoss):
                raise ValueError(
                    f'ColorPSPHead: loss_decode has a {type(loss).__name__}; it regresses colours, '
                    "so give dict(type='ColorLoss')"
                )
        self.conv_seg = self._last_conv(3)
        self.last_norm = nn.Identity()
        if last_norm_cfg:
            _, self.last_norm = build_norm_layer(last_norm_cfg, 3)
        self.register_buffer('palette', torch.tensor(colors) / 255, persistent=False)  # (K, 3)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of the maps chosen by ``in_index``: minus squared distances, -3 to 0.

        Args:
            inputs: The backbone's maps; the chosen one is (N, C, H, W).

        Returns:
            (N, K, H, W), at least float32.
        """
        return self._logits(self.predict_color(inputs))

    def predict_color(self, feats: Sequence[Tensor]) -> Tensor:
        """The painted picture.

        Args:
            feats: The backbone's maps; the chosen one is (N, C, H, W).

        Returns:
            (N, 3, H, W), at least float32, RGB, 0 to 1.
        """
        return self._paint(feats).sigmoid()

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict
    ) -> dict[str, Tensor]:
        """Losses by name, and ``acc_seg``, percent of labelled pixels with the right class.

        Args:
            inputs: The backbone's maps; the chosen one is (N, C, H, W).
            batch_data_samples: With ``gt_sem_seg``, (1, H', W') of any one size.
            train_cfg: Not used.
        """
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)  # (N, H', W')
        painted = self._paint(inputs)
        if painted.shape[2:] != labels.shape[1:]:
            painted = resize(
                painted, labels.shape[1:], mode='bilinear', align_corners=self.align_corners
            )
        labelled = labels != self.ignore_index
        target = F.embedding(labels * labelled, self.palette).permute(0, 3, 1, 2).to(painted.dtype)
        found: dict[str, Tensor] = {}
        for loss in self._losses():
            value = loss(painted, target, labelled)
            found[loss.loss_name] = found.get(loss.loss_name, 0) + value
        with torch.no_grad():
            logits = self._logits(painted.sigmoid())
        found['acc_seg'] = accuracy(logits, labels, ignore_index=self.ignore_index)
        return found

    def _paint(self, inputs: Sequence[Tensor]) -> Tensor:
        """The colours before their sigmoid, (N, 3, H, W), at least float32."""
        x = self.last_norm(self.conv_seg(self._concat(inputs)))
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def _logits(self, color: Tensor) -> Tensor:
        """Painted (N, 3, H, W) to minus squared distances (N, K, H, W).

        |c - p|^2 = |c|^2 - 2 c p + |p|^2, so K distances cost one product with the palette.
        """
        with torch.autocast(color.device.type, enabled=False):
            palette = self.palette.to(color.dtype)
            weight, bias = 2 * palette, -palette.square().sum(1)
            near = F.conv2d(color, weight[:, :, None, None], bias)
            return near - color.square().sum(1, keepdim=True)

    def _losses(self) -> list[nn.Module]:
        many = isinstance(self.loss_decode, nn.ModuleList)
        return list(self.loss_decode) if many else [self.loss_decode]


def _read_palette(palette: str | Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    if isinstance(palette, str):
        known = known_palettes()
        if palette not in known:
            raise ValueError(
                f'ColorPSPHead: palette={palette!r}: expected one of {", ".join(known)}, or a list '
                'of colours'
            )
        palette = known[palette]['palette']
    colors = check_colors(palette, name='ColorPSPHead: palette')
    if twice := sorted({color for color in colors if colors.count(color) > 1}):
        raise ValueError(f'ColorPSPHead: palette names {twice} twice; each class needs its own')
    return list(colors)
