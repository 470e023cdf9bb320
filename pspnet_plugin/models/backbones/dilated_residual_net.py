"""Family of backbones made of the article's dilated residual block.

Differs from stock ``ResNetV1c`` in its block: the 3x3 convolution of the bottleneck is dilated, the
shortcut is a 3x3 convolution, inner activations are leaky; and there is no stem or pooling.

Shape shorthand in this module: N: batch; Ci: input channels of a block; C1, C2, C3: its widths;
H, W: size of its input; s: stride.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.models.backbones.staged import CheckpointedBlock, StagedBackbone

# Keras' defaults, under which the article was trained; torch counts momentum from the other end.
ARTICLE_NORM = dict(type='BN', eps=1e-3, momentum=0.01)
ARTICLE_ACT = dict(type='LeakyReLU', negative_slope=0.2)
ARTICLE_INIT = dict(type='KerasInit', he_normal=('conv1', 'conv2', 'conv3'))
ARTICLE_WIDTHS = ((32, 32, 64), (64, 64, 128), (128, 128, 256))


class DilatedResidualBlock(CheckpointedBlock):
    """1x1, dilated 3x3, 1x1 beside a shortcut, summed, ReLU (the article's ``conv_block``).

    Args:
        in_channels: Ci.
        widths: (C1, C2, C3).
        stride: Stride s of the dilated convolution and of the shortcut.
        dilation: Dilation of the bottleneck's 3x3 convolution.
        identity_shortcut: If true, the input is added as it is, not through a 3x3 convolution.

    The other arguments are those of ``DilatedResidualNet``.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        *,
        stride: int,
        dilation: int,
        bias: bool,
        norm_cfg: dict,
        act_cfg: dict,
        identity_shortcut: bool,
        with_cp: bool,
    ) -> None:
        super().__init__(with_cp=with_cp)
        c1, c2, c3 = widths
        common = dict(norm_cfg=norm_cfg, bias=bias)
        self.conv1 = ConvModule(in_channels, c1, 1, act_cfg=act_cfg, **common)
        dilated = dict(stride=stride, padding=dilation, dilation=dilation, act_cfg=act_cfg)
        self.conv2 = ConvModule(c1, c2, 3, **dilated, **common)
        self.conv3 = ConvModule(c2, c3, 1, act_cfg=None, **common)
        self.shortcut = (
            nn.Identity()
            if identity_shortcut
            else ConvModule(in_channels, c3, 3, stride=stride, padding=1, act_cfg=None, **common)
        )

    def run(self, x: Tensor) -> Tensor:
        """Map (N, Ci, H, W) to (N, C3, ceil(H / s), ceil(W / s))."""
        out = self.conv1(x)  # (N, C1, H, W)
        out = self.conv2(out)  # (N, C2, H / s, W / s)
        out = self.conv3(out)  # (N, C3, H / s, W / s)
        return F.relu(out + self.shortcut(x), inplace=True)


@MODELS.register_module()
class DilatedResidualNet(StagedBackbone):
    """Stages of dilated residual blocks. The defaults are the article's network.

    Args:
        in_channels: Channels of the image.
        widths: (C1, C2, C3) of each stage; C3 is its number of output channels.
        blocks: Number of blocks of each stage.
        strides: Stride of each stage's first block.
        dilations: Dilation of each stage's 3x3 convolutions.
        out_indices: Stages whose feature maps are returned, in this order.
        bias: If true, convolutions have a bias beside their norm, as in the article; mmcv warns
            that it is unnecessary.
        norm_cfg: Norm layers. The default has Keras' constants.
        act_cfg: Activation inside the blocks. The sum is always followed by ReLU.
        identity_shortcuts: If true, all blocks of a stage but the first add their input as it is,
            as in ResNet. By default each shortcut is a 3x3 convolution, as in the article, which
            costs several times the rest of the block.
        frozen_stages: Number of leading stages without gradient and with norms in eval mode; 0 or
            -1 for none.
        norm_eval: If true, all batch norms stay in eval mode while training.
        with_cp: If true, gradient checkpointing of each block. As in stock backbones, batch norms
            see each batch twice, so their running statistics follow it faster.
        channels_last: If true, feature maps are channels_last, also in the head that takes them:
            the same numbers, faster on CPUs and in half precision on GPUs.
        init_cfg: The article's by default: Keras' ``he_normal`` in the blocks, its default for
            shortcuts. ``dict(type='Pretrained', checkpoint=...)`` loads weights.

    Raises:
        ValueError: The lists differ in length, or a value is out of its range.

    Source: the article's ``base_feature_maps``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        widths: Sequence[Sequence[int]] = ARTICLE_WIDTHS,
        blocks: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
        dilations: Sequence[int] = (2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2),
        bias: bool = True,
        norm_cfg: dict = ARTICLE_NORM,
        act_cfg: dict = ARTICLE_ACT,
        identity_shortcuts: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        channels_last: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or ARTICLE_INIT)
        lists = dict(widths=widths, blocks=blocks, strides=strides, dilations=dilations)
        _check(lists, out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.channels_last = channels_last
        self.stages = nn.ModuleList()
        for width, count, stride, dilation in zip(widths, blocks, strides, dilations, strict=True):
            stage = nn.Sequential()
            for i in range(count):
                block = DilatedResidualBlock(
                    in_channels, width, stride=stride if i == 0 else 1, dilation=dilation,
                    identity_shortcut=identity_shortcuts and i > 0, bias=bias, norm_cfg=norm_cfg,
                    act_cfg=act_cfg, with_cp=with_cp,
                )  # fmt: skip
                in_channels = width[-1]
                stage.append(block)
            self.stages.append(stage)
        self.freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, in_channels, H, W) to (N, C3, H / s, W / s) for each of ``out_indices``.

        Here s is the product of the strides so far; sizes are rounded up.
        """
        if self.channels_last:  # convolutions keep the format of their input
            x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return tuple(outs[i] for i in self.out_indices)

    def frozen_parts(self) -> Iterable[nn.Module]:
        """Return the modules of the frozen stages."""
        return self.stages[: max(self.frozen_stages, 0)]


def _check(lists: dict[str, Sequence], out_indices: Sequence[int], frozen_stages: int) -> None:
    """Raise ``ValueError`` for lists that are not one valid entry per stage."""
    for name, values in {**lists, 'out_indices': out_indices}.items():
        if not isinstance(values, list | tuple):
            raise ValueError(f'DilatedResidualNet: {name}={values!r}; expected one entry per stage')
    if len({len(values) for values in lists.values()}) > 1:
        lengths = ', '.join(f'{len(values)} {name}' for name, values in lists.items())
        raise ValueError(f'DilatedResidualNet: {lengths}; expected one entry of each per stage')
    for name, values in lists.items():
        for value in values:
            if name == 'widths' and not (isinstance(value, list | tuple) and len(value) == 3):
                raise ValueError(
                    f'DilatedResidualNet: widths={values} holds {value}; expected three per stage'
                )
            if min(value if name == 'widths' else [value]) < 1:
                raise ValueError(f'DilatedResidualNet: {name}={values}; expected 1 or more')
    stages = len(lists['widths'])
    if not out_indices or any(not 0 <= i < stages for i in out_indices):
        raise ValueError(
            f'DilatedResidualNet: out_indices={out_indices}; the stages are 0..{stages - 1}'
        )
    if not -1 <= frozen_stages <= stages:
        raise ValueError(
            f'DilatedResidualNet: frozen_stages={frozen_stages}, but it has {stages} stages'
        )
