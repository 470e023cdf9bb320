"""Whole networks from a photo to class indices: our head beside the stock head, and deployed."""

import argparse
import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import Tensor, nn

from benchmarks.heads import randomise_norms
from benchmarks.tables import print_rows
from benchmarks.timing import Machine, add_device
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork, mean_and_std
from pspnet_plugin.apis.export.exporters import OPSET, check_packages, open_exported, write
from pspnet_plugin.toolkit.synthetic.street import street_scene
from pspnet_plugin.utils.command_line import parse_size

BASELINE = 'stock head'
COLUMNS = {
    'variant': '{form}', 's': '{seconds:.3f}', 'times as fast': '{speedup}',
    'equal labels': '{equal:.4%}', 'G multiply-adds': '{multiply_adds:.1G}',
    'times the floor': '{above_floor:.2f}',
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_device(parser)
    add = parser.add_argument
    add('--config', default='configs/psp_r50-d8_cityscapes_pairs.py',
        help='with one of our heads, or its stock counterpart (%(default)s)',
    )  # fmt: skip
    add('--checkpoint', help='weights of the config (random)')
    add('--size', type=parse_size, default=(512, 1024), metavar='HxW',
        help='of the image (512x1024)',
    )  # fmt: skip
    add('--compile', action='store_true', help='also with torch.compile')
    add('--onnxruntime', action='store_true', help='also as ONNX files in onnxruntime, on the CPU')


def measure(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measure inference on a generated street scene, and print a table."""
    networks = build_networks(args.config, checkpoint=args.checkpoint)
    stock, ours = (network.to(args.device) for network in networks)
    variants = _variants(
        stock, ours, scene(ours, args.size).to(args.device), compiled=args.compile,
        exported=args.onnxruntime,
    )  # fmt: skip
    uncounted = [name for name in variants if name.endswith(('compiled', 'onnxruntime'))]
    with torch.no_grad():
        rows = machine.compare(
            variants, rounds=args.rounds, device=args.device, uncounted=uncounted
        )
        labels = [variant()[0].cpu() for variant in variants.values()]
    for row, found in zip(rows, labels, strict=True):
        row['equal'] = (found == labels[0]).float().mean().item()
    weights = args.checkpoint or 'random weights'
    print(f'{args.config}, {weights}, one image of {args.size[0]}x{args.size[1]}\n')
    print_rows(rows, COLUMNS)
    return rows


def build_networks(config: str, *, checkpoint: str | None = None) -> tuple[nn.Module, nn.Module]:
    """Build the network of a config with stock heads, and with ours.

    Without a checkpoint the weights are random, norms included. A network with another decode head
    raises ``ValueError``.
    """
    model = Config.fromfile(config).model
    model.pretrained = None
    init_default_scope('mmseg')
    heads = [model[key] for key in ('decode_head', 'auxiliary_head') if model.get(key)]
    for head in heads:
        head.type = head.type.removeprefix('Fast')
    if f'Fast{model.decode_head.type}' not in MODELS:
        raise ValueError(f'{config}: its decode_head is {model.decode_head.type}, not one of ours')
    stock = MODELS.build(copy.deepcopy(model))
    for head in heads:
        if f'Fast{head.type}' in MODELS:
            head.type = f'Fast{head.type}'
    ours = randomise_norms(MODELS.build(model))
    if checkpoint:
        load_checkpoint(ours, checkpoint, map_location='cpu', strict=True)
    stock.load_state_dict(ours.state_dict())
    return stock.eval(), ours.eval()


def _variants(
    stock: nn.Module, ours: nn.Module, image: Tensor, *, compiled: bool, exported: bool
) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """Variants of inference on an image, the baseline first."""
    fused = fuse_conv_bn(copy.deepcopy(ours))
    last = copy.deepcopy(fused).to(memory_format=torch.channels_last)
    image_last = image.contiguous(memory_format=torch.channels_last)
    half, stock_half = copy.deepcopy(last).bfloat16(), copy.deepcopy(stock).bfloat16()
    variants: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        BASELINE: partial(deployed(stock), image),
        'our head': partial(deployed(ours), image),
        '+ fused': partial(deployed(fused), image),
        '+ channels_last': partial(deployed(last), image_last),
        '+ bfloat16': partial(deployed(half), image_last.bfloat16()),
        'stock head, bfloat16': partial(deployed(stock_half), image.bfloat16()),
    }
    if compiled:
        graph = torch.compile(deployed(last), fullgraph=True)
        variants['+ channels_last, compiled'] = partial(graph, image_last)
    if exported:
        for name, network in (('our head', ours), (BASELINE, stock)):
            on_cpu = copy.deepcopy(network).cpu()
            variants[f'{name}, onnxruntime'] = in_onnxruntime(on_cpu, image.cpu())
    return variants


def scene(model: nn.Module, size: tuple[int, int]) -> Tensor:
    """Return the photo of a generated street, (1, 3, H, W), normalised for the network."""
    photo, _ = street_scene(np.random.default_rng(0))
    photo = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in mean_and_std(model))
    return ((torch.from_numpy(photo).permute(2, 0, 1) - mean) / std)[None].contiguous()


def deployed(model: nn.Module) -> DeployedNetwork:
    """Complete a network from a normalised image to its index map."""
    return DeployedNetwork(model, normalize=False).eval()


def export(model: nn.Module, image: Tensor, path: Path) -> None:
    """Export a network to ONNX, for normalised images of this size."""
    mean, std = mean_and_std(model)
    metadata = dict(
        mean=mean, std=std, classes=[], palette=[], channel_order='BGR', normalization='outside'
    )
    write(
        deployed(model), image.repeat(2, 1, 1, 1), path, form='onnx', dynamic=False, opset=OPSET,
        metadata=metadata,
    )  # fmt: skip


def in_onnxruntime(model: nn.Module, image: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """Export a network to ONNX and bind its session to the image."""
    check_packages('onnx')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'network.onnx')
        export(model, image, path)
        run = open_exported(path, form='onnx', threads=torch.get_num_threads())
    return partial(run, image)
