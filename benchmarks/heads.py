"""Our heads beside the stock ones that they stand in for."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from benchmarks.timing import (
    Machine,
    multiply_adds,
    peak_bytes,
    ratio,
    take_turns,
)

# Heads of stock configs. That of R101 is that of R50.
HEADS = {
    'r18': dict(type='PSPHead', in_channels=512, in_index=0, channels=128),
    'r50': dict(type='PSPHead', in_channels=2048, in_index=0, channels=512),
    'uper': dict(
        type='UPerHead', in_channels=[96, 192, 384, 768], in_index=[0, 1, 2, 3], channels=512
    ),
}


def randomise_norms(module: nn.Module) -> nn.Module:
    """Makes batch norms of an untrained network differ from the identity."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.1)
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return module


def build_heads(name: str, *, dtype: torch.dtype, device: str) -> tuple[nn.Module, nn.Module]:
    """The stock head and ours, with the same parameters."""
    config = dict(HEADS[name], num_classes=19, norm_cfg=dict(type='BN'), dropout_ratio=0)
    stock = randomise_norms(MODELS.build(config))
    ours = MODELS.build(dict(config, type=f'Fast{config["type"]}'))
    ours.load_state_dict(stock.state_dict())
    return stock.to(device, dtype), ours.to(device, dtype)


def feature_maps(
    name: str, size: tuple[int, int], *, batch: int, dtype: torch.dtype, device: str
) -> list[Tensor]:
    """Random maps: for PSPHead one of ``size``, for UPerHead each half the one before."""
    channels = HEADS[name]['in_channels']
    return [
        torch.randn(batch, c, *(-(-s // 2**i) for s in size), device=device).to(dtype)
        for i, c in enumerate(channels if isinstance(channels, list) else [channels])
    ]


def compare_heads(
    name: str,
    size: tuple[int, int],
    *,
    batch: int,
    rounds: int,
    machine: Machine,
    dtype: torch.dtype = torch.float32,
    device: str = 'cpu',
    channels_last: bool = False,
) -> list[dict]:
    """Forward in inference, and forward with backward in training.

    Args:
        name: One of ``HEADS``.
        size: (H, W) of the (largest) map.
        batch: Pictures; in training at least two, without which the stock heads do not train.
        rounds: Of timing.
        machine: See ``measure_machine``.
        dtype: Of parameters and maps.
        device: ``'cpu'`` or ``'cuda'``.
        channels_last: Memory format of parameters and maps.

    Returns:
        A row for each of the two.
    """
    heads = dict(zip(('stock', 'ours'), build_heads(name, dtype=dtype, device=device), strict=True))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    heads = {key: head.to(memory_format=layout) for key, head in heads.items()}
    many = feature_maps(name, size, batch=max(batch, 2), dtype=dtype, device=device)
    many = [m.contiguous(memory_format=layout).requires_grad_() for m in many]
    few = [m.detach()[:batch] for m in many]

    def forward(head: nn.Module) -> Tensor:
        with torch.no_grad():
            return head(few)

    def step(head: nn.Module) -> None:
        head.zero_grad(set_to_none=True)
        for m in many:
            m.grad = None
        head(many).float().square().mean().backward()

    rows = []
    for what, function, train in (('forward', forward, False), ('training', step, True)):
        ways = {key: lambda h=head, f=function: f(h) for key, head in heads.items()}
        for head in heads.values():
            head.train(train)
        seconds = take_turns(ways, rounds=rounds, device=device)
        counts = {key: multiply_adds(way) for key, way in ways.items()}
        peaks = {key: peak_bytes(way, device=device) for key, way in ways.items()}
        best = {key: min(times) for key, times in seconds.items()}
        rows.append(
            dict(
                head=name,
                map=f'{max(batch, 2) if train else batch}x{size[0]}x{size[1]}',
                what=what,
                seconds=best,
                speedup=ratio(seconds['stock'], seconds['ours']),
                multiply_adds=counts,
                peak_bytes=peaks,
                memory=peaks['ours'] / peaks['stock'],
                above_floor={key: best[key] / machine.floor(counts[key]) for key in best},
            )
        )
    for head in heads.values():
        head.eval()
    stock, ours = (forward(head).float() for head in heads.values())
    rows[0]['difference'] = ((ours - stock).abs().max() / stock.abs().max()).item()
    return rows
