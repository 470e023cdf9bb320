"""Configs and segmentors, loaded on the CPU with nothing missing.

Unlike stock ``init_model``, a checkpoint that does not fit is an error, and class names and colours
are never guessed.
"""

import pickle
import textwrap
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.models import EncoderDecoder
from mmseg.registry import DATASETS, MODELS
from torch import Tensor

from pspnet_plugin.apis.export.deployed_network import mean_and_std
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.models.preprocessor import MinMaxDataPreProcessor
from pspnet_plugin.utils.images import Bits
from pspnet_plugin.utils.resizing import Size

RESIZING = ('Resize', 'RandomResize', 'RandomChoiceResize', 'ResizeShortestEdge')


def load_config(path: Path, *, options: dict | None = None, whole: bool = True) -> Config:
    """Load a config that builds a segmentor, and replace the values of ``options``.

    ``FileNotFoundError``: it is missing. ``ValueError``: it is unusable; if ``whole``, so is one
    whose ``test_cfg.mode`` is not ``'whole'``.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give the config of a network')
    try:
        config = Config.fromfile(path)
        config.merge_from_dict(options or {})
        model = config.get('model')
    except Exception as error:  # a config is a program, and may fail in any way
        raise ValueError(f'{path} cannot be read as a config: {_one_line(error)}') from None
    if not model or 'decode_head' not in model:
        raise ValueError(f'{path} has no model with a decode_head; give the config of a network')
    mode = (model.get('test_cfg') or {}).get('mode', 'whole')
    if whole and mode != 'whole':
        raise ValueError(
            f'{path}: test_cfg.mode={mode!r}, and only networks that take the whole image at once '
            'are exported. If this one can, add --cfg-options model.test_cfg.mode=whole'
        )
    return config


def load_model(config: Config, checkpoint: Path) -> tuple[EncoderDecoder, dict]:
    """Load a segmentor with its weights, in eval mode and without auxiliary heads, on the CPU.

    Returns it and the ``meta`` of the checkpoint, which may be a bare state dict.
    ``FileNotFoundError``: the checkpoint is missing. ``ValueError``: the model cannot be built, or
    the checkpoint does not fit it.
    """
    state, meta = _read_checkpoint(checkpoint)
    model = build_model(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        # A line for all missing keys, one for all unexpected ones, one for each other shape.
        lines = [textwrap.shorten(line, 200) for line in str(error).splitlines()[1:5]]
        raise ValueError(
            f'{checkpoint} does not fit {config.filename}: {" ".join(lines)} Give the config that '
            'it was trained with'
        ) from None
    model.auxiliary_head = None  # only training uses it
    return model.eval().requires_grad_(False), meta


def build_model(config: Config) -> EncoderDecoder:
    """Build the segmentor of a config, on the CPU, to be filled with weights.

    Pretrained weights and the settings of a training are removed from the config. ``ValueError``:
    the model cannot be built.
    """
    config.model.pretrained = None
    config.model.train_cfg = None
    for part in config.model.values():
        if isinstance(part, dict) and 'init_cfg' in part:
            part['init_cfg'] = None
    init_default_scope(config.get('default_scope', 'mmseg'))
    try:
        return revert_sync_batchnorm(MODELS.build(config.model))
    except Exception as error:  # of any part's constructor
        raise ValueError(f'{config.filename}: model cannot be built: {_one_line(error)}') from None


def size_of(config: Config) -> Size | None:
    """Return the (height, width) of the crops of a training, None if the config has none."""
    preprocessor = config.get('data_preprocessor') or config.model.get('data_preprocessor') or {}
    testing = config.model.get('test_cfg') or {}
    size = preprocessor.get('size') or config.get('crop_size') or testing.get('crop_size')
    return tuple(size) if size else None


def trained_side(config: Config) -> int | None:
    """Return the longer side in pixels of the largest photos of a training, None if unknown.

    In larger photos, objects are larger than the network has ever seen them. The training pipeline
    of the config tells; one without resizing does not. A backbone that enlarges photos in tests
    sees them larger by its ``test_scale``.
    """
    dataset = _dataset_of(config, 'train_dataloader')
    while not dataset.get('pipeline'):  # wrappers: the first dataset within
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets') or ()), None)
        if not isinstance(inner, Mapping):
            return None
        dataset = inner
    sides = [side for step in dataset['pipeline'] if (side := _largest_side(step))]
    model = config.get('model') or {}
    enlarged = (model.get('backbone') or {}).get('test_scale', 1)
    return int(sides[-1] / enlarged) if sides else None


def trained_bits(config: Config) -> Bits | None:
    """Return the bits by which ``LoadDeepImageFromFile`` scales photos in a config's tests."""
    steps = _dataset_of(config, 'test_dataloader').get('pipeline') or ()
    bits = next((step['bits'] for step in steps if 'bits' in step), None)
    return (bits[0], bits[1]) if isinstance(bits, list | tuple) else bits


def check_padding(model: EncoderDecoder, size: Size, *, dynamic: bool) -> None:
    """Raise ``ValueError`` if the framework would pad images of this size in a test."""
    padding = model.data_preprocessor.test_cfg or {}
    divisor, fixed = padding.get('size_divisor'), padding.get('size')
    pads = (divisor and any(side % divisor for side in size)) or (fixed and tuple(fixed) != size)
    if pads or (padding and dynamic):
        asked = 'any size' if dynamic else f'{size[0]}x{size[1]}'
        raise ValueError(
            f'data_preprocessor.test_cfg={dict(padding)} pads images, which an export does not; '
            f'{asked} was asked for. Give a --size that needs no padding, without --dynamic'
        )


def describe(model: EncoderDecoder, config: Config, meta: dict) -> dict:
    """Collect what a program needs to know to use a network with the ``meta`` of its checkpoint.

    ``classes`` and ``palette``, empty where neither checkpoint nor config has them; ``scaling``,
    ``'mean_std'`` or, by each image's own extremes, ``'min_max'``; ``mean`` and ``std``; and
    ``channel_order``, ``'RGB'`` or ``'BGR'``, which mean and std follow.
    """
    mean, std = mean_and_std(model)
    metainfo = meta.get('dataset_meta') or metainfo_of(config)
    classes, palette = (list(metainfo.get(key) or ()) for key in ('classes', 'palette'))
    if len(classes) != model.num_classes:
        classes = palette = []
    # Stock pipelines read BGR; the preprocessor may turn it round.
    preprocessor = config.model.data_preprocessor
    to_rgb = preprocessor.get('bgr_to_rgb') or preprocessor.get('rgb_to_bgr')
    by_min_max = isinstance(model.data_preprocessor, MinMaxDataPreProcessor)
    return dict(
        classes=classes, palette=[[int(value) for value in color] for color in palette],
        scaling='min_max' if by_min_max else 'mean_std', mean=mean, std=std,
        channel_order='RGB' if to_rgb else 'BGR',
    )  # fmt: skip


def metainfo_of(config: Config) -> dict:
    """Return ``classes``, ``palette`` and the like of the dataset that a config tests on."""
    dataset = _dataset_of(config, 'test_dataloader')
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    configured = dataset.get('metainfo') or {}
    if isinstance(configured, str):
        configured = read_metainfo(configured, option='metainfo=')
    defaults = getattr(kind, 'METAINFO', {})
    colors = dict(zip(defaults.get('classes', ()), defaults.get('palette', ()), strict=False))
    classes = configured.get('classes', colors)
    if colors and 'palette' not in configured and set(classes) <= colors.keys():
        configured = {**configured, 'palette': [colors[name] for name in classes]}
    return {**defaults, **configured}


def _dataset_of(config: Config, loader: str) -> Mapping:
    return (config.get(loader) or {}).get('dataset') or {}


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read the state dict and the meta of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a checkpoint of the network')
    try:
        content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    except ValueError:  # guarded loaders name the file, and say what to do
        raise
    except (EOFError, OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f'{path} cannot be read as a checkpoint: {_one_line(error)}') from None
    state = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f'{path} holds no weights; give a checkpoint of the network')
    meta = content.get('meta') if state is not content else None
    return {key.removeprefix('module.'): value for key, value in state.items()}, meta or {}


def _largest_side(step: Mapping) -> int | None:
    """Return the longer side of the largest photos that leave a pipeline step, if it tells.

    Of photos that are widened, (width, height) without ``keep_ratio``, the shorter one: things in
    them are no larger than in a square.
    """
    if step['type'] not in RESIZING:
        return None
    scales = step.get('max_size') or step.get('scales') or step.get('scale')
    if 'scales' in step and step.get('keep_ratio') is False:
        scales = [min(_numbers(scale)) for scale in step['scales']]
    largest = max(_numbers(scales), default=0.0)
    if step['type'] == 'RandomResize':
        largest *= max(step.get('ratio_range') or (1,))
    return round(largest) or None


def _numbers(value: object) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text[:300]}'
