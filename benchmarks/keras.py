"""The article's network beside itself in Keras: inference, a step of training, memory.

Shape shorthand in this module: N: batch; H, W: height and width of the picture.
"""

import copy
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.cnn import fuse_conv_bn
from mmseg.models import EncoderDecoder
from torch import Tensor

from benchmarks.heads import randomise_norms
from benchmarks.timing import Machine, multiply_adds, peak_bytes, ratio, take_turns
from pspnet_plugin.apis.loading import build_model, load_config, load_model
from pspnet_plugin.models import ColorPSPHead
from pspnet_plugin.models.preprocessor import min_max
from pspnet_plugin.toolkit.keras.layers import to_keras_model
from pspnet_plugin.toolkit.synthetic.street import street_scene

KERAS = 'Keras'
LEARNING_RATE = 1e-3


def load_painter(config: Path, *, checkpoint: Path | None) -> EncoderDecoder:
    """The network of a config, on the CPU, in eval mode.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the config or the checkpoint is unusable, or its head does not paint.
    """
    loaded = load_config(config)
    if loaded.model.decode_head.type != 'ColorPSPHead':
        raise ValueError(
            f'{config}: its decode_head is {loaded.model.decode_head.type}; expected ColorPSPHead, '
            'whose picture is compared'
        )
    if checkpoint:
        model = load_model(loaded, checkpoint)[0]
    else:
        model = randomise_norms(build_model(loaded))
    return model.eval().requires_grad_(True)


def compare_with_keras(
    config: Path,
    size: tuple[int, int],
    *,
    batch: int,
    rounds: int,
    machine: Machine,
    checkpoint: Path | None = None,
    compiled: bool = False,
) -> list[dict]:
    """Inference from a scaled picture to the painted one, and a step of SGD on its colours.

    Args:
        config: The article's, or one with another ``ColorPSPHead``.
        size: (H, W) of the pictures, generated streets.
        batch: Of the training step; inference takes one picture.
        rounds: Of timing.
        machine: See ``measure_machine``.
        checkpoint: Weights of the config; without, they are random, norms included.
        compiled: With rows for ``torch.compile``.

    Returns:
        A row for each form of inference, then of training, Keras first in both.

    Raises:
        FileNotFoundError, ImportError, ValueError: see ``load_painter`` and ``to_keras_model``.
    """
    os.environ['KERAS_BACKEND'] = 'torch'
    model = load_painter(config, checkpoint=checkpoint)
    counterpart = to_keras_model(model, size)
    pictures, masks = _streets(size, batch)
    inference = _inference(model, counterpart, pictures[:1], compiled=compiled)
    training = _training(model, counterpart, pictures, masks, compiled=compiled)
    painted = {name: way() for name, way in inference.items()}
    decided = {name: model.decode_head._logits(p.float()).argmax(1) for name, p in painted.items()}
    rows = []
    for what, ways in (('inference', inference), ('training', training)):
        seconds = take_turns(ways, rounds=rounds)
        peaks = {name: peak_bytes(way) for name, way in ways.items()}
        for name, way in ways.items():
            count = multiply_adds(way) if 'compiled' not in name else None
            best = min(seconds[name])
            row = dict(
                what=what,
                form=name,
                seconds=best,
                speedup=ratio(seconds[KERAS], seconds[name]),
                peak_bytes=peaks[name],
                memory=peaks[name] / peaks[KERAS],
                multiply_adds=count,
                above_floor=count and best / machine.floor(count),
            )
            if what == 'inference':
                row['difference'] = (painted[name] - painted[KERAS]).abs().max().item()
                row['equal'] = (decided[name] == decided[KERAS]).double().mean().item()
            rows.append(row)
    return rows


def _inference(
    model: EncoderDecoder, counterpart: Callable, picture: Tensor, *, compiled: bool
) -> dict[str, Callable[[], Tensor]]:
    """Ways from (1, 3, H, W) to the painted picture, (1, 3, H, W)."""
    last = picture.permute(0, 2, 3, 1).contiguous()  # Keras' layout
    height, width = picture.shape[2:]

    @torch.no_grad()
    def by_keras() -> Tensor:
        flat = counterpart(last, training=False)
        return flat.view(1, height, width, 3).permute(0, 3, 1, 2)

    def form(network: torch.nn.Module, x: Tensor) -> Callable[[], Tensor]:
        return torch.no_grad()(partial(_paint, network, x))

    fused = fuse_conv_bn(copy.deepcopy(model)).to(memory_format=torch.channels_last)
    ways = {
        KERAS: by_keras,
        'ours': form(model, picture),
        '+ fused': form(fused, picture),
        '+ bfloat16': form(copy.deepcopy(fused).bfloat16(), picture.bfloat16()),
    }
    if compiled:
        graph = torch.compile(partial(_paint, fused), fullgraph=True)
        ways['+ fused, compiled'] = torch.no_grad()(partial(graph, picture))
    return ways


def _training(
    model: EncoderDecoder, counterpart: Callable, pictures: Tensor, masks: Tensor, *, compiled: bool
) -> dict[str, Callable[[], object]]:
    """Ways to make a step on pictures and masks, (N, 3, H, W) each."""
    from keras.optimizers import SGD

    counterpart.compile(optimizer=SGD(LEARNING_RATE), loss='mse')
    by_keras = partial(
        counterpart.train_on_batch,
        np.ascontiguousarray(pictures.permute(0, 2, 3, 1)),
        np.ascontiguousarray(masks.permute(0, 2, 3, 1)).reshape(len(masks), -1),
    )
    ways = {KERAS: by_keras, 'ours': _step(copy.deepcopy(model), pictures, masks)}
    if compiled:
        ways['compiled'] = _step(copy.deepcopy(model), pictures, masks, compiled=True)
    return ways


def _step(
    model: EncoderDecoder, pictures: Tensor, masks: Tensor, *, compiled: bool = False
) -> Callable[[], None]:
    model.train()
    head: ColorPSPHead = model.decode_head
    everywhere = torch.ones(masks[:, 0].shape, dtype=torch.bool)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)

    def loss_of(x: Tensor) -> Tensor:
        return head.loss_decode(head._paint(model.extract_feat(x)), masks, everywhere)

    if compiled:
        loss_of = torch.compile(loss_of, fullgraph=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(pictures).backward()
        optimizer.step()

    return step


def _paint(network: EncoderDecoder, x: Tensor) -> Tensor:
    return network.decode_head.predict_color(network.extract_feat(x))


def _streets(size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """Photos scaled as the article does, and their colours, (N, 3, H, W) each, 0 to 1."""
    from pspnet_plugin.datasets import CityscapesPairsDataset

    colors = np.array([*CityscapesPairsDataset.METAINFO['palette'], (0, 0, 0)], np.uint8)
    found = []
    for seed in range(count):
        photo, labels = street_scene(np.random.default_rng(seed))
        mask = colors[np.minimum(labels, len(colors) - 1)]
        found.append(
            [
                torch.from_numpy(cv2.resize(p, size[::-1], interpolation=cv2.INTER_AREA))
                for p in (photo, mask)
            ]
        )
    photos, masks = (torch.stack(each).permute(0, 3, 1, 2) for each in zip(*found, strict=True))
    return min_max(photos), (masks.float() / 255).contiguous()
