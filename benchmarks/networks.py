"""A whole network with our head beside the same with the stock head, and in deployed forms."""

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
from benchmarks.timing import Machine, multiply_adds, ratio, take_turns
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork, mean_and_std
from pspnet_plugin.apis.export.exporters import OPSET, check_packages, open_exported, write
from pspnet_plugin.toolkit.synthetic.street import street_scene


def build_networks(config: str, *, checkpoint: str | None = None) -> tuple[nn.Module, nn.Module]:
    """The network of a config with stock heads in place of ours, and as it is.

    Args:
        config: File of a config.
        checkpoint: Its weights; without, they are random, norms included.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the network has none of our heads.
    """
    model = Config.fromfile(config).model
    model.pretrained = None
    init_default_scope('mmseg')
    ours = randomise_norms(MODELS.build(copy.deepcopy(model)))
    if checkpoint:
        load_checkpoint(ours, checkpoint, map_location='cpu', strict=True)
    if not model.decode_head.type.startswith('Fast'):
        raise ValueError(
            f'{config}: its decode_head is {model.decode_head.type}; expected FastPSPHead or '
            'FastUPerHead, which have a stock counterpart'
        )
    for key in ('decode_head', 'auxiliary_head'):
        if model.get(key):
            model[key].type = model[key].type.removeprefix('Fast')
    stock = MODELS.build(model)
    stock.load_state_dict(ours.state_dict())
    return stock.eval(), ours.eval()


def compare_networks(
    config: str,
    size: tuple[int, int],
    *,
    rounds: int,
    machine: Machine,
    checkpoint: str | None = None,
    device: str = 'cpu',
    compiled: bool = False,
    exported: bool = False,
) -> list[dict]:
    """Inference: a generated street scene to its index map.

    Args:
        config: See ``build_networks``.
        size: (H, W) of the picture.
        rounds: Of timing.
        machine: See ``measure_machine``.
        checkpoint: See ``build_networks``.
        device: ``'cpu'`` or ``'cuda'``.
        compiled: With a row for ``torch.compile``.
        exported: With rows for ONNX files of both heads in onnxruntime, on the CPU.

    Returns:
        A row for each form, the stock network in float32 first.

    Raises:
        ImportError: onnxruntime is asked for and missing.
    """
    stock, ours = (m.to(device) for m in build_networks(config, checkpoint=checkpoint))
    picture = _scene(ours, size).to(device)
    fused = fuse_conv_bn(copy.deepcopy(ours))
    last = copy.deepcopy(fused).to(memory_format=torch.channels_last)
    by_pixel = picture.contiguous(memory_format=torch.channels_last)
    ways = {
        'stock head': partial(_deployed(stock), picture),
        'our head': partial(_deployed(ours), picture),
        '+ fused': partial(_deployed(fused), picture),
        '+ channels_last': partial(_deployed(last), by_pixel),
        '+ bfloat16': partial(_deployed(copy.deepcopy(last).bfloat16()), by_pixel.bfloat16()),
        'stock head, bfloat16': partial(
            _deployed(copy.deepcopy(stock).bfloat16()), picture.bfloat16()
        ),
    }
    counted = list(ways)
    if compiled:
        graph = torch.compile(_deployed(last), fullgraph=True)
        ways['+ channels_last, compiled'] = partial(graph, by_pixel)
    if exported:
        ways['our head, onnxruntime'] = _in_onnxruntime(ours.cpu(), picture.cpu())
        ways['stock head, onnxruntime'] = _in_onnxruntime(stock.cpu(), picture.cpu())
        ours.to(device)
        stock.to(device)
    with torch.no_grad():
        seconds = take_turns(ways, rounds=rounds, device=device)
        expected = ways['stock head']()[0].cpu()
        rows = []
        for name, function in ways.items():
            count = multiply_adds(function) if name in counted else None
            best = min(seconds[name])
            rows.append(
                dict(
                    form=name,
                    seconds=best,
                    speedup=ratio(seconds['stock head'], seconds[name]),
                    equal=(function()[0].cpu() == expected).float().mean().item(),
                    multiply_adds=count,
                    above_floor=count and best / machine.floor(count),
                )
            )
    return rows


def _scene(model: nn.Module, size: tuple[int, int]) -> Tensor:
    """The photo of a generated street, (1, 3, H, W), normalised as the network wants it."""
    photo, _ = street_scene(np.random.default_rng(0))
    photo = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in mean_and_std(model))
    return ((torch.from_numpy(photo).permute(2, 0, 1) - mean) / std)[None].contiguous()


def _deployed(model: nn.Module) -> DeployedNetwork:
    return DeployedNetwork(model, normalize=False).eval()


def _in_onnxruntime(model: nn.Module, picture: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """Runs the network's ONNX file on the picture."""
    check_packages('onnx')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'network.onnx')
        write(
            _deployed(model), picture.repeat(2, 1, 1, 1), path, form='onnx', dynamic=False,
            opset=OPSET, metadata={},
        )  # fmt: skip
        run = open_exported(path, form='onnx', threads=torch.get_num_threads())
    return partial(run, picture)
