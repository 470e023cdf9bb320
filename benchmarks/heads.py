"""Fast heads beside their stock counterparts, in inference and training."""

import argparse
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.tables import print_rows
from benchmarks.timing import DTYPES, Machine
from pspnet_plugin.utils.command_line import bounded_int, parse_size

# Heads of stock configs. The head of R101 is the same as that of R50.
HEADS: dict[str, dict[str, Any]] = {
    'r18': dict(type='PSPHead', in_channels=512, in_index=0, channels=128),
    'r50': dict(type='PSPHead', in_channels=2048, in_index=0, channels=512),
    'uper': dict(
        type='UPerHead', in_channels=[96, 192, 384, 768], in_index=[0, 1, 2, 3], channels=512
    ),
    'segformer': dict(
        type='SegformerHead', in_channels=[32, 64, 160, 256], in_index=[0, 1, 2, 3], channels=256
    ),
    'hrnet': dict(
        type='FCNHead', in_channels=[18, 36, 72, 144], in_index=[0, 1, 2, 3], channels=270,
        input_transform='resize_concat', kernel_size=1, num_convs=1, concat_input=False,
    ),
    'ham': dict(
        type='LightHamHead', in_channels=[64, 160, 256], in_index=[0, 1, 2], channels=256,
        ham_channels=256, ham_kwargs=dict(MD_R=16, rand_init=False),
        norm_cfg=dict(type='GN', num_groups=32),
    ),
}  # fmt: skip

COLUMNS = {
    'head': '{head}', 'map': '{map}', 'pass': '{what}', 'stock, s': '{seconds[stock]:.4f}',
    'ours, s': '{seconds[ours]:.4f}', 'times as fast': '{speedup}', 'memory': '{memory:.2f}',
    'G multiply-adds, stock': '{multiply_adds[stock]:.2G}',
    'G multiply-adds, ours': '{multiply_adds[ours]:.2G}',
    'times the floor, stock': '{above_floor[stock]:.2f}',
    'times the floor, ours': '{above_floor[ours]:.2f}', 'difference': '{difference:.1e}',
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    timing.add_device(parser)
    add = parser.add_argument
    add('--only', nargs='+', choices=HEADS, default=list(HEADS), metavar='HEAD',
        help=f'heads to measure, of {", ".join(HEADS)} (all)',
    )  # fmt: skip
    add('--map', nargs='+', type=parse_size, metavar='HxW',
        default=[(32, 32), (64, 128), (97, 97)],
        help='sizes of the largest feature map (32x32 64x128 97x97: images of 256x256, 512x1024 '
        'and 769x769 at stride 8)',
    )  # fmt: skip
    add('--batch', type=bounded_int(1), default=1,
        help='in inference (1); in training at least 2, as stock heads need',
    )  # fmt: skip
    add('--dtype', choices=DTYPES, default='float32', help='of features and parameters (float32)')
    add('--channels-last', action='store_true', help='memory format of features and parameters')


def measure(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measure each head at each size, and print a table."""
    rows = []
    for name in args.only:
        for size in args.map:
            heads, features = _build(name, size, args)
            rows += [dict(head=name, **row) for row in _compare(heads, features, args, machine)]
    print_rows(rows, COLUMNS)
    return rows


def randomise_norms(module: nn.Module) -> nn.Module:
    """Make the batch norms of an untrained network differ from the identity."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            assert m.running_mean is not None and m.running_var is not None
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.1)
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return module


def _build(
    name: str, size: tuple[int, int], args: argparse.Namespace
) -> tuple[dict[str, nn.Module], list[Tensor]]:
    """Build the ``stock`` head and ``ours`` with the same parameters, and feature maps of a batch.

    Each feature map has half the size of the one before.
    """
    config = dict[str, Any](num_classes=19, norm_cfg=dict(type='BN'), dropout_ratio=0) | HEADS[name]
    heads = dict(stock=randomise_norms(MODELS.build(config)))
    heads['ours'] = MODELS.build(dict(config, type=f'Fast{config["type"]}'))
    heads['ours'].load_state_dict(heads['stock'].state_dict())
    if name == 'ham':  # stock draws its bases in the forward, at random and in float32
        bases = F.normalize(torch.rand(1, config['ham_channels'], 16), dim=1)
        for head in heads.values():
            head.get_submodule('hamburger.ham').register_buffer('bases', bases)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    place = dict(device=args.device, dtype=DTYPES[args.dtype], memory_format=layout)
    channels = HEADS[name]['in_channels']
    features = [
        torch.randn(max(args.batch, 2), c, *(-(-s // 2**i) for s in size)).to(**place)
        for i, c in enumerate(channels if isinstance(channels, list) else [channels])
    ]
    return {key: head.to(**place) for key, head in heads.items()}, features


def _compare(
    heads: dict[str, nn.Module], features: list[Tensor], args: argparse.Namespace, machine: Machine
) -> list[dict]:
    """Compare the forward pass in inference, and forward and backward in training."""
    few = [f[: args.batch] for f in features]
    many = [f.clone().requires_grad_() for f in features]

    @torch.no_grad()
    def forward(head: nn.Module) -> Tensor:
        return head(few)

    def step(head: nn.Module) -> None:
        head.zero_grad(set_to_none=True)
        for f in many:
            f.grad = None
        head(many).float().square().mean().backward()

    rows: list[dict] = []
    for what, function, inputs in (('forward', forward, few), ('training', step, many)):
        variants = {
            key: partial(function, head.train(what == 'training')) for key, head in heads.items()
        }
        seconds = timing.time_in_turns(variants, rounds=args.rounds, device=args.device)
        best = {key: min(times) for key, times in seconds.items()}
        counts = {key: timing.multiply_adds(variant) for key, variant in variants.items()}
        peaks = {
            key: timing.peak_bytes(variant, device=args.device) for key, variant in variants.items()
        }
        n, _, height, width = inputs[0].shape
        row = dict(
            map=f'{n}x{height}x{width}', what=what, seconds=best, multiply_adds=counts,
            speedup=timing.ratio(seconds['stock'], seconds['ours']),
            above_floor={key: best[key] / machine.floor(counts[key]) for key in best},
            peak_bytes=peaks, memory=peaks['ours'] / peaks['stock'],
        )  # fmt: skip
        rows.append(row)
    stock, ours = (forward(head.eval()).float() for head in heads.values())
    rows[0]['difference'] = ((ours - stock).abs().max() / stock.abs().max()).item()
    return rows
