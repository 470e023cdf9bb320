"""The article's network beside the same in Keras, in inference and training.

N is the batch; H and W are height and width of the images.
"""

import argparse
import copy
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.cnn import fuse_conv_bn
from mmseg.models import EncoderDecoder
from torch import Tensor

from benchmarks.heads import randomise_norms
from benchmarks.tables import print_rows
from benchmarks.timing import Machine, peak_bytes
from pspnet_plugin.apis.loading import build_model, load_config, load_model
from pspnet_plugin.datasets import CityscapesPairsDataset
from pspnet_plugin.models import ColorPSPHead
from pspnet_plugin.models.preprocessor import min_max
from pspnet_plugin.toolkit.keras.layers import to_keras_model
from pspnet_plugin.toolkit.synthetic.street import street_scene
from pspnet_plugin.utils.command_line import bounded_int, parse_size

BASELINE = 'Keras'
LEARNING_RATE = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('--config', type=Path, metavar='CONFIG',
        default='configs/psp_article-rgb_cityscapes_pairs.py',
        help='with a ColorPSPHead (%(default)s)',
    )  # fmt: skip
    add('--checkpoint', type=Path, help='its weights (random)')
    add('--size', type=parse_size, default=(256, 256), metavar='HxW', help='(256x256)')
    add('--batch', type=bounded_int(1), default=4, help='of the training step (4)')
    add('--compile', action='store_true', help='also with torch.compile')


def measure(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measure inference, from a scaled photo to the painted image, and a step of SGD on colours."""
    os.environ['KERAS_BACKEND'] = 'torch'
    model = open_network(args.config, checkpoint=args.checkpoint)
    counterpart = to_keras_model(model, args.size)
    photos, targets = _streets(args.size, args.batch)
    inference = _inference(model, counterpart, photos[:1], compiled=args.compile)
    training = _training(model, counterpart, photos, targets, compiled=args.compile)
    painted = {name: variant() for name, variant in inference.items()}
    labels = {name: model.decode_head._logits(p.float()).argmax(1) for name, p in painted.items()}
    rows = []
    for what, variants in (('inference', inference), ('training', training)):
        peaks = {name: peak_bytes(variant) for name, variant in variants.items()}
        for row in machine.compare(variants, rounds=args.rounds):
            peak = peaks[name := row['form']]
            row |= dict(what=what, peak_bytes=peak, memory=peak / peaks[BASELINE])
            if what == 'inference':
                row['difference'] = (painted[name] - painted[BASELINE]).abs().max().item()
                row['equal'] = (labels[name] == labels[BASELINE]).double().mean().item()
            rows.append(row)
    print(
        f'{args.config}, {args.checkpoint or "random weights"}, {args.size[0]}x{args.size[1]}; '
        f'one image in inference, {args.batch} in training\n'
    )
    columns = {
        'pass': '{what}', 'variant': '{form}', 's': '{seconds:.3f}', 'times as fast': '{speedup}',
        'memory, MB': '{peak_bytes:.0M}', 'of that of Keras': '{memory:.2f}',
        'G multiply-adds': '{multiply_adds:.1G}', 'times the floor': '{above_floor:.2f}',
        'difference': '{difference:.1e}', 'same nearest colour': '{equal:.3%}',
    }  # fmt: skip
    print_rows(rows, columns)
    return rows


def open_network(config: Path, *, checkpoint: Path | None) -> EncoderDecoder:
    """Open a network that paints, on the CPU, in eval mode; without a checkpoint, random."""
    loaded = load_config(config)
    if loaded.model.decode_head.type != 'ColorPSPHead':
        raise ValueError(
            f'{config}: its decode_head is {loaded.model.decode_head.type}; expected ColorPSPHead, '
            'which paints the images that are compared'
        )
    if checkpoint:
        return load_model(loaded, checkpoint)[0].eval().requires_grad_(True)
    return randomise_norms(build_model(loaded)).eval()


def _inference(
    model: EncoderDecoder, counterpart: Any, photo: Tensor, *, compiled: bool
) -> dict[str, Callable[[], Tensor]]:
    """Variants from a photo to the painted image, (1, 3, H, W) both."""
    last = photo.permute(0, 2, 3, 1).contiguous()  # (1, H, W, 3), Keras' layout
    height, width = photo.shape[2:]

    def by_keras() -> Tensor:
        flat = counterpart(last, training=False)  # (1, H W 3)
        return flat.view(1, height, width, 3).permute(0, 3, 1, 2)

    fused = fuse_conv_bn(copy.deepcopy(model)).to(memory_format=torch.channels_last)
    half = copy.deepcopy(fused).bfloat16()
    variants: dict[str, Callable[[], Tensor]] = {
        BASELINE: by_keras,
        'ours': partial(_paint, model, photo),
        '+ fused': partial(_paint, fused, photo),
        '+ bfloat16': partial(_paint, half, photo.bfloat16()),
    }
    if compiled:
        graph = torch.compile(partial(_paint, fused), fullgraph=True)
        variants['+ fused, compiled'] = partial(graph, photo)
    return {name: torch.no_grad()(variant) for name, variant in variants.items()}


def _training(
    model: EncoderDecoder, counterpart: Any, photos: Tensor, targets: Tensor, *, compiled: bool
) -> dict[str, Callable[[], object]]:
    """Variants of a training step on photos and colours, (N, 3, H, W) both."""
    from keras.optimizers import SGD

    counterpart.compile(optimizer=SGD(LEARNING_RATE), loss='mse')
    by_keras = partial(
        counterpart.train_on_batch,
        np.ascontiguousarray(photos.permute(0, 2, 3, 1)),
        np.ascontiguousarray(targets.permute(0, 2, 3, 1)).reshape(len(targets), -1),
    )
    variants: dict[str, Callable[[], object]] = {BASELINE: by_keras}
    variants['ours'] = _step(copy.deepcopy(model), photos, targets)
    if compiled:
        variants['compiled'] = _step(copy.deepcopy(model), photos, targets, compiled=True)
    return variants


def _step(
    model: EncoderDecoder, photos: Tensor, targets: Tensor, *, compiled: bool = False
) -> Callable[[], None]:
    model.train()
    head: ColorPSPHead = model.decode_head
    everywhere = torch.ones(targets[:, 0].shape, dtype=torch.bool)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)

    def loss_of(x: Tensor) -> Tensor:
        return head.loss_decode(head._before_sigmoid(model.extract_feat(x)), targets, everywhere)

    loss_function = torch.compile(loss_of, fullgraph=True) if compiled else loss_of

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_function(photos).backward()
        optimizer.step()

    return step


def _paint(network: EncoderDecoder, x: Tensor) -> Tensor:
    return network.decode_head.predict_color(network.extract_feat(x))


def _streets(size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """Photos scaled as the article does, and their colours, (N, 3, H, W) each, 0 to 1."""
    colors = np.array([*CityscapesPairsDataset.METAINFO['palette'], (0, 0, 0)], np.uint8)

    def resized(image: np.ndarray) -> Tensor:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        return torch.from_numpy(image).permute(2, 0, 1)  # (3, H, W)

    scenes = [street_scene(np.random.default_rng(seed)) for seed in range(count)]
    photos = torch.stack([resized(photo) for photo, _ in scenes])
    targets = [resized(colors[np.minimum(labels, len(colors) - 1)]) for _, labels in scenes]
    return min_max(photos), torch.stack(targets).float() / 255
