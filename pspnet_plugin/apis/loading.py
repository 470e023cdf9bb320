"""A segmentor from its config and checkpoint, on the CPU, with nothing missing.

Differs from stock ``init_model`` in that a checkpoint which does not fit is an error, and in that
classes and colours are never guessed.
"""

import pickle
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.models import EncoderDecoder
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn

from pspnet_plugin.apis.export.deployed_network import mean_and_std
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.models.preprocessor import MinMaxDataPreProcessor

Size = tuple[int, int]


def load_config(path: Path, *, options: dict | None = None, whole: bool = True) -> Config:
    """A config that builds a segmentor.

    Args:
        path: Its file.
        options: What replaces its values, by dotted keys.
        whole: Whether the network has to see the whole picture at once.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is unusable.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give the config of a network')
    try:
        config = Config.fromfile(path)
        config.merge_from_dict(options or {})
        model = config.get('model')
    except Exception as error:  # a config is a program, and may fail in any way
        raise ValueError(f'{path} cannot be read as a config: {_line(error)}') from None
    if not model or 'decode_head' not in model:
        raise ValueError(f'{path} has no model with a decode_head; give the config of a network')
    test_cfg = model.get('test_cfg') or {}
    if whole and test_cfg.get('mode', 'whole') != 'whole':
        raise ValueError(
            f'{path}: test_cfg.mode={test_cfg["mode"]!r}: only networks that see the whole picture '
            'at once are exported. If this one may, add --cfg-options model.test_cfg.mode=whole'
        )
    return config


def load_model(config: Config, checkpoint: Path) -> tuple[EncoderDecoder, dict]:
    """The network of a config with the weights of a checkpoint, in eval mode, on the CPU.

    It has no auxiliary heads, which only training uses. The config is changed: its pretrained
    weights are not asked for.

    Args:
        config: One of ``load_config``.
        checkpoint: File that a training has written, or a bare state dict.

    Returns:
        The network, and the checkpoint's ``meta``.

    Raises:
        FileNotFoundError: the checkpoint is missing.
        ValueError: the network cannot be built, or the checkpoint is not one of it.
    """
    state, meta = _read(checkpoint)
    model = build_model(config)
    _fill(model, state, f'{checkpoint} does not fit {config.filename}')
    model.auxiliary_head = None
    return model.eval().requires_grad_(False), meta


def build_model(config: Config) -> EncoderDecoder:
    """The network of a config, on the CPU, whose weights are yet to come.

    The config is changed: its pretrained weights are not asked for.

    Args:
        config: One of ``load_config``.

    Raises:
        ValueError: the network cannot be built.
    """
    config.model.pretrained = None
    config.model.train_cfg = None
    for part in config.model.values():
        if isinstance(part, dict) and 'init_cfg' in part:
            part.init_cfg = None
    init_default_scope(config.get('default_scope', 'mmseg'))
    try:
        return revert_sync_batchnorm(MODELS.build(config.model))
    except Exception as error:  # of any part's constructor
        raise ValueError(f'{config.filename}: its model cannot be built: {_line(error)}') from None


def size_of(config: Config) -> Size | None:
    """(height, width) of the pictures that a network was trained on, if its config says so."""
    preprocessor = config.get('data_preprocessor') or config.model.get('data_preprocessor') or {}
    for size in (
        preprocessor.get('size'),
        config.get('crop_size'),
        (config.model.get('test_cfg') or {}).get('crop_size'),
    ):
        if size:
            return tuple(size)
    return None


def check_padding(model: EncoderDecoder, size: Size, *, dynamic: bool) -> None:
    """Makes sure that the framework would not pad pictures of this size in a test.

    Raises:
        ValueError: it would.
    """
    padding = model.data_preprocessor.test_cfg or {}
    divisor, whole = padding.get('size_divisor'), padding.get('size')
    pads = (divisor and any(side % divisor for side in size)) or (whole and tuple(whole) != size)
    if pads or (padding and dynamic):
        asked = 'any size' if dynamic else f'{size[0]}x{size[1]}'
        raise ValueError(
            f'data_preprocessor.test_cfg={dict(padding)} pads pictures before the network sees '
            f'them, and an export does not; {asked} was asked for. Give a --size that needs no '
            'padding, without --dynamic'
        )


def describe(model: EncoderDecoder, config: Config, meta: dict) -> dict:
    """What a program that uses the network has to know.

    Args:
        model: The network.
        config: Its config.
        meta: ``meta`` of its checkpoint.

    Returns:
        ``classes`` and ``palette`` (empty where neither checkpoint nor config says); ``scaling``,
        ``'mean_std'`` or, by each picture's own extremes, ``'min_max'``; ``mean`` and ``std``; and
        ``channel_order``, ``'RGB'`` or ``'BGR'``, all in the order of the channels.
    """
    mean, std = mean_and_std(model)
    metainfo = meta.get('dataset_meta') or metainfo_of(config)
    classes, palette = (list(metainfo.get(key) or ()) for key in ('classes', 'palette'))
    if len(classes) != model.num_classes:
        classes = palette = []
    # Stock pipelines read BGR; the preprocessor may turn it round.
    preprocessor = config.model.data_preprocessor
    turned = preprocessor.get('bgr_to_rgb') or preprocessor.get('rgb_to_bgr')
    order = 'RGB' if turned else 'BGR'
    palette = [[int(value) for value in colour] for colour in palette]
    by_min_max = isinstance(model.data_preprocessor, MinMaxDataPreProcessor)
    return dict(
        classes=classes, palette=palette, scaling='min_max' if by_min_max else 'mean_std',
        mean=mean, std=std, channel_order=order,
    )  # fmt: skip


def metainfo_of(config: Config) -> dict:
    """``classes``, ``palette`` and the like of the set that a config tests on."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    own = dataset.get('metainfo') or {}
    if isinstance(own, str):
        own = read_metainfo(own, option='metainfo=')
    known = getattr(kind, 'METAINFO', {})
    colors = dict(zip(known.get('classes', ()), known.get('palette', ()), strict=False))
    if colors and 'palette' not in own and set(own.get('classes', ())) <= colors.keys():
        own = {**own, 'palette': [colors[name] for name in own.get('classes', colors)]}
    return {**known, **own}


def _read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """State dict and meta of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a checkpoint of the network')
    try:
        content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    except (EOFError, OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f'{path} cannot be read as a checkpoint: {_line(error)}') from None
    state = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f'{path} holds no weights; give a checkpoint of the network')
    meta = content.get('meta') if state is not content else None
    return {key.removeprefix('module.'): value for key, value in state.items()}, meta or {}


def _fill(model: nn.Module, state: dict[str, Tensor], problem: str) -> None:
    own = model.state_dict()
    shapes = [
        f'{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}'
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if shapes:
        raise ValueError(f'{problem}: of other shapes: {_few(shapes)}')
    with torch.no_grad():
        missing, unexpected = model.load_state_dict(state, strict=False)
    said = [
        f'{what}: {_few(keys)}'
        for what, keys in (('missing', missing), ('unexpected', unexpected))
        if keys
    ]
    if said:
        raise ValueError(f'{problem}: {"; ".join(said)}. Give the config that it was trained with')


def _few(names: list[str], most: int = 4) -> str:
    rest = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + rest


def _line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text[:300]}'
