"""Pyramid pooling heads: the paper's by bins, the article's by windows.

Shape shorthand in this module: N: batch; C: input maps; M: maps a pyramid level; L: levels;
H, W: height and width of the map; k: a window's side in pixels of the map.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import PSPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.models.concat_conv import ConcatConv2d, Parts
from pspnet_plugin.models.head_parts import accept_parts, on_bins, over_concat, pyramid_levels

GLOBAL = 'global'


@MODELS.register_module()
class FastPSPHead(PSPHead):
    """The paper's head (arXiv 1612.01105, section 3.2), a drop-in for stock ``PSPHead``.

    Arguments, parameters, their names and the outputs are those of ``PSPHead``, so checkpoints go
    both ways. It differs in how it computes, which ``pyramid.py`` derives: neither the upsampled
    maps nor their concat are made, for about half the multiply-adds. And it trains with one picture
    a batch, where the batch norm of a single bin takes its running statistics.

    Args:
        pool_scales: Bins of each level: (h, w), or one number for both.
        **kwargs: Arguments of ``BaseDecodeHead``.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs) -> None:
        super().__init__(pool_scales, **kwargs)
        accept_parts(self.bottleneck, align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The maps that are classified, (N, channels, H, W)."""
        x = self._transform_inputs(inputs)
        levels = pyramid_levels(self.psp_modules, x)
        return over_concat(self.bottleneck, x, levels, align_corners=self.align_corners)


@MODELS.register_module()
class WindowPSPHead(BaseDecodeHead):
    """The article's head: average-pooled windows of fixed size, N/n maps a level, one 3x3 conv.

    Differs from stock ``PSPHead``: a level is given by the side of its windows, not by the number
    of its bins, so its grid grows with the picture; branches have a bias and neither norm nor
    activation by default; the classes come from one 3x3 convolution over the concat. Windows at the
    right and lower rim average the pixels that there are, and maps are upsampled by exactly k, so
    that (without ``align_corners``) they stay aligned at any size. Without norms it trains with one
    picture a batch.

    Args:
        in_channels: C, or with ``input_transform='resize_concat'`` those of the maps joined.
        channels: N, the maps shared among the levels: each gets ``channels // len(windows)``. C by
            default, as in the article.
        windows: Sides of the windows; ``'global'`` pools the whole map.
        dropout_ratio: Of whole maps before the last convolution; the article has none.
        **kwargs: Arguments of ``BaseDecodeHead``.

    Raises:
        ValueError: ``windows`` is empty or holds something else, or N is less than their number.

    Source: the article's ``pyramid_feature_maps`` and ``last_conv_module``.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int | None = None,
        *,
        windows: Sequence[int | str] = (GLOBAL, 2, 4, 8),
        dropout_ratio: float = 0.0,
        act_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        windows = tuple(windows) if isinstance(windows, list | tuple) else (windows,)
        for window in windows:
            if window != GLOBAL and not (isinstance(window, int) and window > 0):
                raise ValueError(
                    f"WindowPSPHead: windows={windows}: expected 'global' or a side in pixels, got "
                    f'{window!r}'
                )
        if kwargs.get('input_transform') == 'multiple_select':
            raise ValueError(
                "WindowPSPHead: input_transform='multiple_select' gives it several maps; it takes "
                "one, so choose None or 'resize_concat'"
            )
        if channels is None:
            channels = in_channels if isinstance(in_channels, int) else sum(in_channels)
        if not windows or channels < len(windows):
            raise ValueError(
                f'WindowPSPHead: windows={windows} share {channels} maps; expected at least one '
                'window, and one map for each'
            )
        super().__init__(
            in_channels, channels, dropout_ratio=dropout_ratio, act_cfg=act_cfg, **kwargs
        )
        self.windows = windows
        level_channels = channels // len(windows)
        self.levels = nn.ModuleList(
            ConvModule(
                self.in_channels,
                level_channels,
                1,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
            )
            for _ in windows
        )
        self.conv_seg = ConcatConv2d(
            self.in_channels + len(windows) * level_channels, self.out_channels, 3, padding=1
        )
        self.conv_seg.align_corners = self.align_corners

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of the maps chosen by ``in_index``.

        Args:
            inputs: The backbone's maps; the chosen one is (N, C, H, W).

        Returns:
            (N, out_channels, H, W).

        Raises:
            ValueError: a window is larger than the map.
        """
        x = self._transform_inputs(inputs)
        levels, spans = [], []
        for window, conv in zip(self.windows, self.levels, strict=True):
            level = on_bins(conv, self._pool(x, window))  # (N, M, ceil(H / k), ceil(W / k))
            levels.append(level)
            height, width = level.shape[2:]
            spans.append(x.shape[2:] if window == GLOBAL else (height * window, width * window))
        if self.dropout is not None:  # of whole maps, so it may come before upsampling
            x, *levels = (self.dropout(m) for m in (x, *levels))
        return self.conv_seg(Parts(x, levels, spans))

    def _pool(self, x: Tensor, window: int | str) -> Tensor:
        """Averages (N, C, H, W) over the windows: (N, C, ceil(H / k), ceil(W / k))."""
        height, width = x.shape[-2:]
        if window == GLOBAL:
            return x.mean(dim=(2, 3), keepdim=True)
        if window > min(height, width):
            raise ValueError(
                f'WindowPSPHead: a window of {window} pixels does not fit into a map of '
                f'{height} x {width} (height x width); windows={self.windows}. Use larger '
                'pictures, a smaller stride of the backbone, or smaller windows; '
                "'global' always fits."
            )
        return F.avg_pool2d(x, window, ceil_mode=True, count_include_pad=False)
