"""The article's head: pyramid levels of windows, or of bins, that share the maps among them.

Shape shorthand in this module: N: batch; C: input maps; M: maps of a level; L: levels; H, W: height
and width of the map; h, w: of a level; k: a window's side in pixels of the map.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.models.layers.concat_conv import ConcatConv2d, Parts
from pspnet_plugin.models.layers.head_parts import on_bins
from pspnet_plugin.models.layers.pyramid import Size, pool

GLOBAL = 'global'
WINDOWS = (GLOBAL, 2, 4, 8)
UPSAMPLINGS = ('bilinear', 'deconv')


@MODELS.register_module()
class WindowPSPHead(BaseDecodeHead):
    """The article's head: average-pooled windows of fixed size, N/n maps a level, one 3x3 conv.

    Differs from stock ``PSPHead``: a level is given by the side of its windows, so its grid grows
    with the picture, or by the number of its bins, as in stock; branches have a bias and neither
    norm nor activation by default; the classes come from one 3x3 convolution over the concat.
    Windows at the right and lower rim average the pixels that there are, and maps are upsampled by
    exactly k, so that (without ``align_corners``) they stay aligned at any size. Without norms it
    trains with one picture a batch.

    Args:
        in_channels: C, or with ``input_transform='resize_concat'`` those of the maps joined.
        channels: N of the article, the maps shared among the levels: each gets
            ``channels // levels``. C by default, as in the article.
        windows: Sides of the windows; ``'global'`` pools the whole map. ``('global', 2, 4, 8)`` by
            default.
        bins: In the place of ``windows``, the bins of each level: (h, w), or one number for both.
        upsampling: ``'bilinear'``, or ``'deconv'``: a transposed convolution of kernel and stride k
            for each level of windows. That of the global one would have the size of the map, so
            this level is repeated in either case.
        dropout_ratio: Of whole maps before the last convolution; the article has none.
        init_cfg: As Keras by default, see ``KerasInit``.
        **kwargs: Arguments of ``BaseDecodeHead``.

    Raises:
        ValueError: ``windows`` or ``bins`` are empty or hold something else, both are given, N is
            less than their number, or ``upsampling`` is unknown or not for bins.

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
                f"{name}: input_transform='multiple_select' gives it several maps; it takes one, "
                "so choose None or 'resize_concat'"
            )
        windows, bins = _check_levels(name, windows, bins, upsampling)
        if channels is None:
            channels = in_channels if isinstance(in_channels, int) else sum(in_channels)
        levels = len(windows or bins)
        if channels < levels:
            raise ValueError(
                f'{name}: {levels} levels share {channels} maps; expected at least one for each'
            )
        super().__init__(
            in_channels,
            channels,
            dropout_ratio=dropout_ratio,
            act_cfg=act_cfg,
            init_cfg=init_cfg or dict(type='KerasInit'),
            **kwargs,
        )
        self.windows, self.bins, self.upsampling = windows, bins, upsampling
        maps = channels // levels
        self.levels = nn.ModuleList(
            ConvModule(
                self.in_channels,
                maps,
                1,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
            )
            for _ in range(levels)
        )
        if upsampling == 'deconv':
            self.deconvs = nn.ModuleList(
                nn.Identity() if k == GLOBAL else nn.ConvTranspose2d(maps, maps, k, stride=k)
                for k in windows
            )
        self.conv_seg = self._last_conv(self.out_channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of the maps chosen by ``in_index``.

        Args:
            inputs: The backbone's maps; the chosen one is (N, C, H, W).

        Returns:
            (N, out_channels, H, W).

        Raises:
            ValueError: a window is larger than the map.
        """
        return self.conv_seg(self._concat(inputs))

    def _last_conv(self, out_channels: int) -> ConcatConv2d:
        """The 3x3 convolution over the concat."""
        maps = self.in_channels + len(self.levels) * self.levels[0].out_channels
        conv = ConcatConv2d(maps, out_channels, 3, padding=1)
        conv.align_corners = self.align_corners
        return conv

    def _concat(self, inputs: Sequence[Tensor]) -> Parts | Tensor:
        """What the last convolution takes: (N, C + L * M, H, W), or the parts of that."""
        x = self._transform_inputs(inputs)
        pooled = pool(x, self.bins) if self.bins else [self._pool(x, k) for k in self.windows]
        levels = [on_bins(conv, p) for conv, p in zip(self.levels, pooled, strict=True)]
        if self.upsampling == 'deconv':
            height, width = x.shape[2:]
            maps = [
                level.expand(-1, -1, height, width) if k == GLOBAL else deconv(level)
                for k, deconv, level in zip(self.windows, self.deconvs, levels, strict=True)
            ]
            joined = torch.cat([x, *(m[..., :height, :width] for m in maps)], 1)
            return joined if self.dropout is None else self.dropout(joined)
        if self.dropout is not None:  # of whole maps, so it may come before upsampling
            x, *levels = (self.dropout(m) for m in (x, *levels))
        if self.bins:
            return Parts(x, levels)
        spans = [
            x.shape[2:] if k == GLOBAL else (level.shape[2] * k, level.shape[3] * k)
            for k, level in zip(self.windows, levels, strict=True)
        ]
        return Parts(x, levels, spans)

    def _pool(self, x: Tensor, window: int | str) -> Tensor:
        """Averages (N, C, H, W) over the windows: (N, C, ceil(H / k), ceil(W / k))."""
        height, width = x.shape[-2:]
        if window == GLOBAL:
            return x.mean(dim=(2, 3), keepdim=True)
        if window > min(height, width):
            raise ValueError(
                f'{type(self).__name__}: a window of {window} pixels does not fit into a map of '
                f'{height} x {width} (height x width); windows={self.windows}. Use larger '
                'pictures, a smaller stride of the backbone, or smaller windows; '
                "'global' always fits."
            )
        return F.avg_pool2d(x, window, ceil_mode=True, count_include_pad=False)


def _check_levels(
    name: str,
    windows: Sequence[int | str] | None,
    bins: Sequence[int | Size] | None,
    upsampling: str,
) -> tuple[tuple | None, tuple | None]:
    """``windows`` and ``bins``, one of which is None."""
    if windows is not None and bins is not None:
        raise ValueError(f'{name}: windows={windows} and bins={bins}: give one of the two')
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f'{name}: upsampling={upsampling!r}, expected one of {UPSAMPLINGS}')
    if bins is None:
        windows = WINDOWS if windows is None else windows
        windows = tuple(windows) if isinstance(windows, list | tuple) else (windows,)
        for window in windows:
            if window != GLOBAL and not _is_count(window):
                raise ValueError(
                    f"{name}: windows={windows}: expected 'global' or a side in pixels, got "
                    f'{window!r}'
                )
        if not windows:
            raise ValueError(f'{name}: windows=(): expected at least one level')
        return windows, None
    if upsampling == 'deconv':
        raise ValueError(
            f"{name}: bins={bins}, upsampling='deconv': the kernel of a transposed convolution is "
            'the side of a window, and that of a bin is not fixed; give windows'
        )
    grids = tuple(bins) if isinstance(bins, list | tuple) else (bins,)
    for grid in grids:
        sides = grid if isinstance(grid, list | tuple) else (grid, grid)
        if len(sides) != 2 or not all(map(_is_count, sides)):
            raise ValueError(
                f'{name}: bins={bins}: expected (h, w) or one number for both, got {grid!r}'
            )
    if not grids:
        raise ValueError(f'{name}: bins=(): expected at least one level')
    return None, tuple(tuple(g) if isinstance(g, list) else g for g in grids)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
