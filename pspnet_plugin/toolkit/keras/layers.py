"""Which Keras layer is which module of ours, and their arrays in each other's layout.

Shape shorthand in this module: I, O: input and output maps; k: side of the kernel.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from mmseg.models import EncoderDecoder
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pspnet_plugin.models import DilatedResidualNet, WindowPSPHead
from pspnet_plugin.models.backbones.dilated_residual_net import ARTICLE_NORM
from pspnet_plugin.models.decode_heads.window_psp_head import GLOBAL
from pspnet_plugin.toolkit.keras.files import KerasLayer
from pspnet_plugin.toolkit.keras.model import SLOPE, build_keras, level_name

if TYPE_CHECKING:
    import keras

_PARTS = {'a': 'conv1', 'b': 'conv2', 'c': 'conv3', 'skip_conv': 'shortcut'}
_CONV = ('weight', 'bias')
_NORM = ('weight', 'bias', 'running_mean', 'running_var')
_CONSTANTS = ('eps', 'momentum')
_TERMS = dict(
    weight='kernel', bias='bias', running_mean='moving_mean', running_var='moving_variance'
)


class Slot(NamedTuple):
    """A module of ours and the article's name of the layer that it stands for."""

    layer: str
    name: str
    module: nn.Module

    @property
    def is_norm(self) -> bool:
        """Whether it is a batch norm."""
        return isinstance(self.module, _BatchNorm)

    @property
    def tensors(self) -> list[tuple[str, str, Tensor]]:
        """Keras' term, our name and the tensor, of each array that the Keras layer has."""
        names = _NORM if self.is_norm else _CONV
        terms = dict(_TERMS, weight='gamma', bias='beta') if self.is_norm else _TERMS
        return [
            (terms[key], f'{self.name}.{key}', getattr(self.module, key))
            for key in names
            if getattr(self.module, key) is not None
        ]


class Placed(NamedTuple):
    """What a conversion has put where."""

    layer: KerasLayer
    slot: Slot


def slots_of(model: EncoderDecoder) -> list[Slot]:
    """What a network of the article's kind is made of, in the order in which Keras lists it.

    Raises:
        ValueError: it is not of that kind.
    """
    backbone, head = model.backbone, model.decode_head
    if not isinstance(backbone, DilatedResidualNet) or not isinstance(head, WindowPSPHead):
        raise ValueError(
            f'the network is a {type(backbone).__name__} under a {type(head).__name__}; expected '
            "the article's kind, DilatedResidualNet under ColorPSPHead or WindowPSPHead"
        )
    return list(_slots(backbone, head))


def _slots(backbone: DilatedResidualNet, head: WindowPSPHead) -> Iterator[Slot]:
    blocks = [
        (f'backbone.stages.{i}.{j}', block)
        for i, stage in enumerate(backbone.stages)
        for j, block in enumerate(stage)
    ]
    for number, (name, block) in enumerate(blocks, start=1):
        for part, own in _PARTS.items():
            module = getattr(block, own)
            yield Slot(f'block_{number}_{part}', f'{name}.{own}.conv', module.conv)
            if module.with_norm:
                yield Slot(f'block_{number}_batch_norm_{part}', f'{name}.{own}.bn', module.norm)
    for i, level in enumerate(head.levels):
        yield Slot(f'{level_name(i)}_1_by_1', f'decode_head.levels.{i}.conv', level.conv)
    if head.upsampling == 'deconv':
        for i, (window, deconv) in enumerate(zip(head.windows, head.deconvs, strict=True)):
            if window != GLOBAL:
                yield Slot(f'{level_name(i)}_upsampling', f'decode_head.deconvs.{i}', deconv)
    yield Slot('last_conv_3_by_3', 'decode_head.conv_seg', head.conv_seg)
    norm = getattr(head, 'last_norm', None)
    if isinstance(norm, _BatchNorm):
        yield Slot('last_conv_3_by_3_batch_norm', 'decode_head.last_norm', norm)


def counterpart_of(model: EncoderDecoder, size: tuple[int, int]) -> 'keras.Model':
    """The network in Keras, with the same weights.

    Args:
        model: One of the article's kind.
        size: (H, W) of the pictures that the Keras model will take.

    Raises:
        ImportError: Keras is not installed.
        ValueError: it is not of that kind, or its windows do not divide the size.
    """
    slots = slots_of(model)
    head = model.decode_head
    blocks = [block for stage in model.backbone.stages for block in stage]
    for slot in slots:
        _check_is_article(slot)
    if sum(slot.is_norm for slot in slots) < 4 * len(blocks):
        raise ValueError('the blocks have other norms than batch norms; those of Keras have these')
    _check_between(blocks, head)
    colors = hasattr(head, 'last_norm')
    counterpart = build_keras(
        size,
        widths=[[getattr(b, f'conv{i}').out_channels for i in (1, 2, 3)] for b in blocks],
        windows=_windows(head, size),
        upsampling=head.upsampling,
        out_channels=head.conv_seg.out_channels,
        last_norm=colors and isinstance(head.last_norm, _BatchNorm),
        activation='sigmoid' if colors or head.out_channels == 1 else 'softmax',
    )
    for slot in slots:
        arrays = [keras_array(slot, tensor) for _, _, tensor in slot.tensors]
        counterpart.get_layer(slot.layer).set_weights(arrays)
    return counterpart


def _check_between(blocks: Sequence[nn.Module], head: WindowPSPHead) -> None:
    """Compares what has no weights with what ``build_keras`` puts there."""
    for block in blocks:
        for conv in (block.conv1, block.conv2):
            act = conv.activate if conv.with_activation else None
            if not isinstance(act, nn.LeakyReLU) or act.negative_slope != SLOPE:
                raise ValueError(
                    f'the blocks have {act or "no activation"}; those of Keras LeakyReLU({SLOPE})'
                )
    if any(level.with_activation for level in head.levels):
        raise ValueError("the pyramid's levels have an activation, and the article's have none")
    if head.align_corners:
        raise ValueError('the head has align_corners=True, by which Keras does not upsample')


def _check_is_article(slot: Slot) -> None:
    module = slot.module
    dilated = slot.layer.startswith('block_') and slot.layer.endswith('_b')
    if slot.is_norm:
        own, expected = (module.eps, module.momentum), tuple(ARTICLE_NORM[k] for k in _CONSTANTS)
        what = 'eps and momentum'
    elif isinstance(module, nn.ConvTranspose2d):
        return
    else:
        own, expected = (module.stride[0], module.dilation[0]), (1, 2 if dilated else 1)
        what = 'stride and dilation'
    if own != expected:
        raise ValueError(
            f"{slot.name} has {what} {own}, and the article's {slot.layer} has {expected}; the "
            'Keras model is built as in the article'
        )


def _windows(head: WindowPSPHead, size: tuple[int, int]) -> list[int | tuple[int, int] | str]:
    """The head's windows on maps of a size, its bins as windows."""
    if not head.bins:
        windows = list(head.windows)
        bad = [k for k in windows if k != GLOBAL and any(side % k for side in size)]
    else:
        grids = [(b, b) if isinstance(b, int) else b for b in head.bins]
        windows = [
            GLOBAL if grid == (1, 1) else (size[0] // grid[0], size[1] // grid[1]) for grid in grids
        ]
        bad = [g for g in grids if size[0] % g[0] or size[1] % g[1]]
    if bad:
        raise ValueError(
            f'{"bins" if head.bins else "windows"} of {bad} do not divide pictures of '
            f'{size[0]}x{size[1]}, as Keras needs; give another size'
        )
    return windows


def place(layers: Sequence[KerasLayer], slots: Sequence[Slot]) -> list[Placed]:
    """Finds the layer of each slot: by the article's names, or else by the order of creation.

    Raises:
        ValueError: a layer is missing or left over, or one does not fit; the message names it.
    """
    names = {slot.layer for slot in slots}
    if names & {layer.name for layer in layers}:
        placed = _by_names(layers, slots)
    else:
        placed = _by_order(layers, slots)
    for layer, slot in placed:
        _check_config(layer, slot)
        wanted = [(term, keras_array(slot, tensor).shape) for term, _, tensor in slot.tensors]
        if [shape for _, shape in wanted] != layer.shapes:
            terms = ', '.join(f'{term} {shape}' for term, shape in wanted)
            found = ', '.join(map(str, layer.shapes))
            raise ValueError(
                f'layer {layer.name} does not fit {slot.name}: it has arrays of {found}, and '
                f'{terms} are expected (in the layout of Keras)'
            )
    return placed


def state_dict_of(placed: Sequence[Placed]) -> dict[str, Tensor]:
    """The layers' arrays by our names and in our layout."""
    state = {}
    for layer, slot in placed:
        for (_, name, own), array in zip(slot.tensors, layer.arrays, strict=True):
            if array.ndim == 4:  # (k, k, I, O) to (O, I, k, k), or transposed (k, k, O, I)
                array = array.transpose(3, 2, 0, 1)
            state[name] = torch.from_numpy(np.ascontiguousarray(array)).view(own.shape)
        if slot.is_norm:
            state[f'{slot.name}.num_batches_tracked'] = torch.tensor(0)
    return state


def keras_array(slot: Slot, tensor: Tensor) -> np.ndarray:
    """One of the slot's tensors in the layout of Keras."""
    array = tensor.detach().cpu().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _check_config(layer: KerasLayer, slot: Slot) -> None:
    """Compares what a file says about a layer, beside its arrays, with our module."""
    module = slot.module
    if slot.is_norm:
        own = dict(epsilon=module.eps, momentum=1 - module.momentum)
    elif isinstance(module, nn.ConvTranspose2d):
        own = dict(strides=module.stride)
    else:
        own = dict(strides=module.stride, dilation_rate=module.dilation)
        if layer.config.get('padding', 'same') != 'same' and module.kernel_size != (1, 1):
            raise ValueError(
                f'layer {layer.name} has padding={layer.config["padding"]!r}, and {slot.name} pads '
                'to the same size'
            )
    for key, value in own.items():
        found = layer.config.get(key, value)
        found = tuple(found) if isinstance(found, list) else found
        if not np.allclose(found, value):
            raise ValueError(
                f'layer {layer.name} has {key}={found}, and {slot.name} has {value}; change the '
                'config to the same'
            )


def _by_names(layers: Sequence[KerasLayer], slots: Sequence[Slot]) -> list[Placed]:
    by_name = {layer.name: layer for layer in layers}
    missing = [slot.layer for slot in slots if slot.layer not in by_name]
    extra = sorted(by_name.keys() - {slot.layer for slot in slots})
    if missing or extra:
        parts = [f'it lacks {", ".join(missing)}'] if missing else []
        parts += [f'it also has {", ".join(extra)}'] if extra else []
        raise ValueError(
            f'the file is of another network: {"; ".join(parts)}. Give --config of one with the '
            'same layers'
        )
    return [Placed(by_name[slot.layer], slot) for slot in slots]


def _by_order(layers: Sequence[KerasLayer], slots: Sequence[Slot]) -> list[Placed]:
    """Convolutions among themselves and norms among themselves, as files may sort by kind."""
    placed = {}
    for kind in (False, True):
        own = [slot for slot in slots if slot.is_norm == kind]
        found = [layer for layer in layers if (len(layer.arrays[0].shape) < 4) == kind]
        if len(own) != len(found):
            what = 'batch norms' if kind else 'convolutions'
            raise ValueError(
                f'the file has {len(found)} {what} ({_few(found)}), and {len(own)} are expected. '
                'Give --config of a network with the same layers'
            )
        placed.update(zip((slot.name for slot in own), zip(found, own, strict=True), strict=True))
    return [Placed(*placed[slot.name]) for slot in slots]


def _few(layers: Sequence[KerasLayer], most: int = 4) -> str:
    names = [layer.name for layer in layers]
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if names[most:] else '')
