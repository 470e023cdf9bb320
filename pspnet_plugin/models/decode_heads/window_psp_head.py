"""The article's head: pyramid levels of windows, or of bins, that share the channels among them.

Differs from stock ``PSPHead``: a level is given by the side of its windows, so its grid grows with
the image, or by its number of bins, as in stock; levels have a bias and neither norm nor activation
by default; one 3x3 convolution over the concat classifies, without a bottleneck before it.

Shape shorthand in this module: N: batch; C: input channels; M: channels of a level; L: levels;
H, W: size of the feature map; h, w: size of a level; k: side of a window in pixels of the feature
map.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.models.layers import ConcatConv2d, Parts, forward_level, pool
from pspnet_plugin.utils.resizing import Size

GLOBAL = 'global'
WINDOWS = (GLOBAL, 2, 4, 8)
UPSAMPLINGS = ('bilinear', 'deconv')


@MODELS.register_module()
class WindowPSPHead(BaseDecodeHead):
    """Pyramid of average-pooled windows of fixed size, C/L channels a level, one 3x3 convolution.

    Windows at the right and lower border average the pixels that are inside, and levels are
    upsampled by exactly k, so that (without ``align_corners``) they stay aligned at any size.
    Without norms it trains with one image per batch.

    Args:
        in_channels: C, or with ``input_transform='resize_concat'`` those of each input.
        channels: Channels shared among the levels, each of which gets M = ``channels // L``. C by
            default, as in the article.
        windows: Side k of each level's windows; ``'global'`` pools the whole feature map.
            ``('global', 2, 4, 8)`` by default.
        bins: Instead of ``windows``, the bins of each level: (h, w), or one number for both.
        upsampling: ``'bilinear'``, or ``'deconv'``: a transposed convolution of kernel and stride k
            for each level of windows. The global level would need a kernel of the size of the
            feature map, so it is repeated in either case.
        dropout_ratio: Dropout of whole channels before the last convolution; none in the article.
        init_cfg: As Keras by default, see ``KerasInit``.
        **kwargs: Arguments of ``BaseDecodeHead``.

    Raises:
        ValueError: ``windows`` or ``bins`` are empty or invalid, both are given, ``channels`` is
            less than L, or ``upsampling`` is unknown or given with bins.

    Source: the article's ``pyramid_feature_maps`` and ``last_conv_module``.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int | None = None,
        *,
        windows: Sequence[int | str] | None = None,
        bins: Sequence[int | Size] | None = None,
        upsampling: str = 'bilinear',
        dropout_ratio: float = 0.0,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        name = type(self).__name__
        if kwargs.get('input_transform') == 'multiple_select':
            raise ValueError(
                f"{name}: input_transform='multiple_select' passes several feature maps, but the "
                "head takes one. Set it to None or 'resize_concat'."
            )
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f'{name}: upsampling={upsampling!r}; expected one of {UPSAMPLINGS}')
        if windows is not None and bins is not None:
            raise ValueError(f'{name}: both windows={windows} and bins={bins}; give one of them')
        if bins is not None and upsampling == 'deconv':
            raise ValueError(
                f"{name}: upsampling='deconv' with bins={bins}. The kernel of a transposed "
                'convolution is the side of a window, which bins do not fix; give windows.'
            )
        if windows is None and bins is None:
            windows = WINDOWS
        sides = () if windows is None else _check_levels(name, 'windows', windows)
        grids = () if bins is None else _check_levels(name, 'bins', bins)
        count = len(sides or grids)
        if channels is None:
            channels = in_channels if isinstance(in_channels, int) else sum(in_channels)
        if channels < count:
            raise ValueError(
                f'{name}: channels={channels} for {count} levels; expected at least one for each'
            )
        super().__init__(
            in_channels,
            channels,
            dropout_ratio=dropout_ratio,
            act_cfg=act_cfg,
            init_cfg=init_cfg or dict(type='KerasInit'),
            **kwargs,
        )
        self.windows: tuple[int | str, ...] = sides
        self.bins: tuple[int | Size, ...] = grids
        self.upsampling = upsampling
        self.level_channels = channels // count  # M
        cfgs = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.levels = nn.ModuleList(
            ConvModule(self.in_channels, self.level_channels, 1, **cfgs) for _ in range(count)
        )
        if upsampling == 'deconv':
            m = self.level_channels
            self.deconvs = nn.ModuleList(
                nn.Identity() if isinstance(k, str) else nn.ConvTranspose2d(m, m, k, stride=k)
                for k in self.windows
            )
        self.conv_seg = self._last_conv(self.out_channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify the feature map chosen by ``in_index``.

        Args:
            inputs: The backbone's feature maps; the chosen one is (N, C, H, W).

        Returns:
            Logits, (N, out_channels, H, W).

        Raises:
            ValueError: A window is larger than the feature map.
        """
        return self.conv_seg(self._concat(inputs))

    def _last_conv(self, out_channels: int) -> ConcatConv2d:
        """Build the 3x3 convolution over the concat."""
        channels = self.in_channels + len(self.levels) * self.level_channels
        return ConcatConv2d(channels, out_channels, 3, align_corners=self.align_corners)

    def _concat(self, inputs: Sequence[Tensor]) -> Parts | Tensor:
        """Return the input of the last convolution: (N, C + L * M, H, W), or its parts."""
        x = self._transform_inputs(inputs)
        height, width = x.shape[2:]
        pooled = pool(x, self.bins) if self.bins else [self._pool(x, k) for k in self.windows]
        levels = [forward_level(conv, p) for conv, p in zip(self.levels, pooled, strict=True)]
        if self.upsampling == 'deconv':
            full = [
                level.expand(-1, -1, height, width) if k == GLOBAL else deconv(level)
                for k, deconv, level in zip(self.windows, self.deconvs, levels, strict=True)
            ]
            concat = torch.cat([x, *(level[..., :height, :width] for level in full)], 1)
            return concat if self.dropout is None else self.dropout(concat)
        if self.dropout is not None:  # it drops whole channels, so it may come before upsampling
            x, *levels = (self.dropout(t) for t in (x, *levels))
        if self.bins:
            return Parts(x, levels)
        sizes = [
            (height, width) if isinstance(k, str) else (level.shape[2] * k, level.shape[3] * k)
            for k, level in zip(self.windows, levels, strict=True)
        ]
        return Parts(x, levels, sizes)

    def _pool(self, x: Tensor, window: int | str) -> Tensor:
        """Average (N, C, H, W) over windows: (N, C, ceil(H / k), ceil(W / k))."""
        if isinstance(window, str):
            return x.mean(dim=(2, 3), keepdim=True)
        height, width = x.shape[2:]
        if window > min(height, width):
            raise ValueError(
                f'{type(self).__name__}: a window of {window} x {window} pixels does not fit into '
                f'a feature map of {height} x {width} (H x W). Use larger images, a backbone of '
                f"smaller stride, or smaller windows than {self.windows}; 'global' always fits."
            )
        return F.avg_pool2d(x, window, ceil_mode=True, count_include_pad=False)


def _check_levels(name: str, key: str, levels: object) -> tuple:
    """Return ``windows`` or ``bins`` as a tuple, each entry of which is valid."""
    levels = tuple(levels) if isinstance(levels, list | tuple) else (levels,)
    if not levels:
        raise ValueError(f'{name}: {key}=(); expected at least one level')
    for level in levels:
        if key == 'windows':
            expected = "'global' or a side in pixels"
            valid = level == GLOBAL or _is_count(level)
        else:
            expected = '(h, w) or one number for both'
            sides = level if isinstance(level, list | tuple) else (level, level)
            valid = len(sides) == 2 and all(map(_is_count, sides))
        if not valid:
            raise ValueError(f'{name}: {key}={levels} holds {level!r}; expected {expected}')
    return tuple(tuple(level) if isinstance(level, list) else level for level in levels)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
