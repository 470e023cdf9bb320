"""A whole network with our head beside the same with the stock head, and in deployed forms."""

import copy

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import Tensor, nn

from pspnet_plugin.benchmarks.heads import randomise_norms
from pspnet_plugin.benchmarks.timing import Machine, multiply_adds, ratio, take_turns


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
) -> list[dict]:
    """Inference: pictures to logits at the size of the maps.

    Args:
        config: See ``build_networks``.
        size: (H, W) of the picture.
        rounds: Of timing.
        machine: See ``measure_machine``.
        checkpoint: See ``build_networks``.
        device: ``'cpu'`` or ``'cuda'``.
        compiled: With a row for ``torch.compile``.

    Returns:
        A row for each form, the stock network in float32 first.
    """
    stock, ours = (m.to(device) for m in build_networks(config, checkpoint=checkpoint))
    fused = fuse_conv_bn(copy.deepcopy(ours))
    last = copy.deepcopy(fused).to(memory_format=torch.channels_last)
    half = copy.deepcopy(last).bfloat16()
    forms = {
        'stock head': (stock, torch.float32, False),
        'our head': (ours, torch.float32, False),
        '+ fused': (fused, torch.float32, False),
        '+ channels_last': (last, torch.float32, True),
        '+ bfloat16': (half, torch.bfloat16, True),
        'stock head, bfloat16': (copy.deepcopy(stock).bfloat16(), torch.bfloat16, False),
    }
    if compiled:
        forms['+ channels_last, compiled'] = (
            torch.compile(_Logits(last), fullgraph=True), torch.float32, True,
        )  # fmt: skip
    picture = torch.randn(1, 3, *size, device=device)

    def way(model: nn.Module, dtype: torch.dtype, channels_last: bool):
        x = picture.to(dtype)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        model = model if compiled and not hasattr(model, 'extract_feat') else _Logits(model)
        return lambda: model(x)

    ways = {name: way(*form) for name, form in forms.items()}
    with torch.no_grad():
        seconds = take_turns(ways, rounds=rounds, device=device)
        expected = ways['stock head']().argmax(1)
        rows = []
        for name, function in ways.items():
            count = multiply_adds(function) if 'compiled' not in name else None
            best = min(seconds[name])
            rows.append(
                dict(
                    form=name,
                    seconds=best,
                    speedup=ratio(seconds['stock head'], seconds[name]),
                    equal=(function().argmax(1) == expected).float().mean().item(),
                    multiply_adds=count,
                    above_floor=count and best / machine.floor(count),
                )
            )
    return rows


class _Logits(nn.Module):
    """Pictures to logits, without resizing and post-processing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.decode_head(self.model.extract_feat(x))
