"""Match Keras layers with modules of the article's network; convert their arrays both ways.

Shape shorthand in this module: I, O: input and output channels; k: side of the kernel.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmseg.models import EncoderDecoder
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.models import ColorPSPHead, DilatedResidualNet, WindowPSPHead
from pspnet_plugin.models.backbones.dilated_residual_net import DilatedResidualBlock
from pspnet_plugin.models.decode_heads.window_psp_head import GLOBAL
from pspnet_plugin.toolkit.keras.files import KerasLayer
from pspnet_plugin.toolkit.keras.model import SLOPE, build_keras, level_name

if TYPE_CHECKING:
    import keras

# The article's suffixes of a block's layers, and our attributes.
BLOCK_PARTS = {'a': 'conv1', 'b': 'conv2', 'c': 'conv3', 'skip_conv': 'shortcut'}


class ArticleModule(NamedTuple):
    """A module with weights, and the article's name of the Keras layer that it stands for."""

    layer: str
    name: str
    module: nn.Conv2d | nn.ConvTranspose2d | _BatchNorm

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by their keys in a checkpoint, in Keras' order; a norm's with its statistics."""
        state = self.module.state_dict(prefix=f'{self.name}.')
        return {key: tensor for key, tensor in state.items() if tensor.ndim}  # counters have none


def article_modules(model: EncoderDecoder) -> list[ArticleModule]:
    """List the modules that have weights, in the order in which Keras lists their layers.

    ``ValueError``: the network is not of the article's kind.
    """
    backbone, head = model.backbone, model.decode_head
    if not isinstance(backbone, DilatedResidualNet) or not isinstance(head, WindowPSPHead):
        raise ValueError(
            f'the network is a {type(backbone).__name__} under a {type(head).__name__}; expected '
            "the article's kind, DilatedResidualNet under ColorPSPHead or WindowPSPHead"
        )
    modules = dict(model.named_modules())
    blocks = [name for name, m in modules.items() if isinstance(m, DilatedResidualBlock)]
    names = {}
    for number, block in enumerate(blocks, start=1):
        for suffix, attribute in BLOCK_PARTS.items():
            names[f'block_{number}_{suffix}'] = f'{block}.{attribute}.conv'
            names[f'block_{number}_batch_norm_{suffix}'] = f'{block}.{attribute}.bn'
    for suffix, name in (('1_by_1', 'levels.{}.conv'), ('upsampling', 'deconvs.{}')):
        for i in range(len(head.levels)):
            names[f'{level_name(i)}_{suffix}'] = f'decode_head.{name.format(i)}'
    names['last_conv_3_by_3'] = 'decode_head.conv_seg'
    names['last_conv_3_by_3_batch_norm'] = 'decode_head.last_norm'
    return [
        ArticleModule(layer, name, module)
        for layer, name in names.items()
        if isinstance(module := modules.get(name), nn.Conv2d | nn.ConvTranspose2d | _BatchNorm)
    ]


def to_keras_model(model: EncoderDecoder, size: tuple[int, int]) -> 'keras.Model':
    """Build the Keras model with the same weights, for images of ``size``.

    ``ImportError``: Keras is not installed. ``ValueError``: the network is not of the article's
    kind, or its windows do not divide the size.
    """
    modules, head = article_modules(model), model.decode_head
    blocks = [block for stage in model.backbone.stages for block in stage]
    _check_activations(blocks, head)
    paints = isinstance(head, ColorPSPHead)
    keras_model = build_keras(
        size,
        widths=[[getattr(b, f'conv{i}').out_channels for i in (1, 2, 3)] for b in blocks],
        windows=_windows(head, size),
        upsampling=head.upsampling,
        out_channels=head.conv_seg.out_channels,
        last_norm=paints and not isinstance(head.last_norm, nn.Identity),
        activation='sigmoid' if paints or head.out_channels == 1 else 'softmax',
    )
    weighted = {layer.name for layer in keras_model.layers if layer.weights}
    if lacking := sorted(weighted - {module.layer for module in modules}):
        raise ValueError(
            f'the network lacks {", ".join(lacking)}; expected batch norms, and 3x3 shortcuts in '
            'all blocks, as in the article'
        )
    for module in modules:
        layer = keras_model.get_layer(module.layer)
        _check_constants(KerasLayer(layer.name, [], layer.get_config()), module)
        layer.set_weights([to_keras_layout(tensor) for tensor in module.tensors.values()])
    return keras_model


def _check_activations(blocks: Sequence[DilatedResidualBlock], head: WindowPSPHead) -> None:
    for conv in (part for block in blocks for part in (block.conv1, block.conv2)):
        act = getattr(conv, 'activate', None)  # absent where act_cfg is None
        if not isinstance(act, nn.LeakyReLU) or act.negative_slope != SLOPE:
            raise ValueError(
                f'the blocks have {act or "no activation"}, and in Keras LeakyReLU({SLOPE}); '
                'change act_cfg of the backbone'
            )
    if any(hasattr(level, 'activate') for level in head.levels):
        raise ValueError('the pyramid levels have an activation; set act_cfg=None in the head')
    if head.align_corners:
        raise ValueError('the head has align_corners=True, but Keras upsamples without it')


def _windows(head: WindowPSPHead, size: tuple[int, int]) -> list[int | tuple[int, int] | str]:
    """Return the head's windows at an input size; bins become windows."""
    height, width = size
    if head.bins:
        grids = [(b, b) if isinstance(b, int) else b for b in head.bins]
        bad: list = [(h, w) for h, w in grids if height % h or width % w]
        windows: list = [GLOBAL if g == (1, 1) else (height // g[0], width // g[1]) for g in grids]
    else:
        windows = list(head.windows or ())
        bad = [k for k in windows if k != GLOBAL and (height % k or width % k)]
    if bad:
        raise ValueError(
            f'{"bins" if head.bins else "windows"} of {bad} do not divide images of '
            f'{height}x{width}, as Keras needs; give another size'
        )
    return windows


def match_layers(
    layers: Sequence[KerasLayer], modules: Sequence[ArticleModule]
) -> list[tuple[KerasLayer, ArticleModule]]:
    """Find the layer of each module, by the article's names or else by the order of creation.

    ``ValueError``: a layer is missing, superfluous, or does not fit; the message names it.
    """
    by_name = {layer.name: layer for layer in layers}
    names = {module.layer for module in modules}
    if names.isdisjoint(by_name):
        matches = _match_by_order(layers, modules)
    elif names != by_name.keys():
        missing, extra = sorted(names - by_name.keys()), sorted(by_name.keys() - names)
        raise ValueError(
            f'the file is of another network: it lacks {", ".join(missing) or "no layer"}, and '
            f'also has {", ".join(extra) or "none"}. Give --config of one with the same layers'
        )
    else:
        matches = [(by_name[module.layer], module) for module in modules]
    for layer, module in matches:
        _check_constants(layer, module)
        expected = [to_keras_layout(tensor).shape for tensor in module.tensors.values()]
        if expected != layer.shapes:
            raise ValueError(
                f'layer {layer.name} does not fit {module.name}: it has arrays of '
                f'{", ".join(map(str, layer.shapes))}, expected {", ".join(map(str, expected))}'
            )
    return matches


def _match_by_order(
    layers: Sequence[KerasLayer], modules: Sequence[ArticleModule]
) -> list[tuple[KerasLayer, ArticleModule]]:
    """Match convolutions and norms separately, as files may sort layers by type."""
    matches: list[tuple[KerasLayer, ArticleModule]] = []
    for kind, is_norm in (('convolutions', False), ('batch norms', True)):
        found = [layer for layer in layers if (layer.arrays[0].ndim < 4) == is_norm]
        expected = [m for m in modules if isinstance(m.module, _BatchNorm) == is_norm]
        if len(found) != len(expected):
            first = ', '.join(layer.name for layer in found[:4])
            raise ValueError(
                f'the file has {len(found)} {kind} ({first} ...), expected {len(expected)}. Give '
                '--config of a network with the same layers'
            )
        matches += zip(found, expected, strict=True)
    return sorted(matches, key=lambda match: modules.index(match[1]))


def _check_constants(layer: KerasLayer, module: ArticleModule) -> None:
    """Compare the arguments of a layer, where they are known, with our module."""
    own = module.module
    expected: dict[str, Any]
    if isinstance(own, _BatchNorm):
        expected = dict(epsilon=own.eps, momentum=1 - (own.momentum or 0))
    else:
        expected = dict(strides=own.stride, dilation_rate=own.dilation)
        if any(own.padding):
            expected['padding'] = 'same'
    for key, value in expected.items():
        found = layer.config.get(key, value)
        if found != value and (isinstance(value, str) or not np.allclose(found, value)):
            raise ValueError(
                f'layer {layer.name} has {key}={found} in Keras, and {module.name} has {value}; '
                'change the config'
            )


def to_keras_layout(tensor: Tensor) -> np.ndarray:
    """Convert (O, I, k, k), or (I, O, k, k) transposed, to (k, k, I, O); others stay."""
    array = tensor.detach().cpu().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_state_dict(matches: Sequence[tuple[KerasLayer, ArticleModule]]) -> dict[str, Tensor]:
    """Convert the arrays of matched layers to a state dict of the network."""
    state = {}
    for layer, module in matches:
        for key, array in zip(module.tensors, layer.arrays, strict=True):
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array  # (O, I, k, k)
            state[key] = torch.from_numpy(np.ascontiguousarray(array))
        if isinstance(module.module, _BatchNorm):
            state[f'{module.name}.num_batches_tracked'] = torch.tensor(0)
    return state
