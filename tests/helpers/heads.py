"""Fast heads and the stock ones that they stand in for, with the same parameters."""

import pytest
import torch
from mmengine.utils import digit_version
from mmseg.registry import MODELS
from torch import nn

from pspnet_plugin.models.layers import pyramid, taps

BN = dict(type='BN')
PSP = dict(type='PSPHead', in_channels=12, in_index=0, channels=8, num_classes=5, dropout_ratio=0)
JOINED = dict(
    type='PSPHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat',
    channels=8, num_classes=5, dropout_ratio=0,
)  # fmt: skip
UPER = dict(
    type='UPerHead', in_channels=[6, 8, 12], in_index=[0, 1, 2], channels=8, num_classes=5,
    dropout_ratio=0,
)  # fmt: skip
# What takes ten seconds each: the joined one does all that the plain one does.
TRACED = pytest.mark.parametrize(
    ('config', 'cost'),
    [
        pytest.param(JOINED, pyramid.COPY, id='joined-counted'),
        pytest.param(UPER, 0, id='uper-apart'),
        pytest.param(JOINED, 0, id='joined-apart', marks=pytest.mark.long),
        pytest.param(UPER, pyramid.COPY, id='uper-counted', marks=pytest.mark.long),
    ],
    indirect=['cost'],
)
TORCH = digit_version(torch.__version__)
# float16 on CPUs came with torch 2.4.
HALVES = [torch.bfloat16, torch.float16]
CPU_AUTOCAST = HALVES if digit_version('2.4') <= TORCH else HALVES[:1]
CONFIGS = pytest.mark.parametrize('config', [PSP, JOINED, UPER], ids=['psp', 'joined', 'uper'])


@pytest.fixture(params=[0, pyramid.COPY], ids=['apart', 'counted'], autouse=True)
def cost(request, monkeypatch):
    """Moving floats free of charge, so that small levels are kept apart too; and as counted."""
    monkeypatch.setattr(pyramid, 'COPY', request.param)
    monkeypatch.setattr(taps, 'FEW', request.param)
    return request.param


def randomise(module):
    """Norms that are no identity: an identity hides a misplaced one."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            nn.init.normal_(m.weight)
            nn.init.normal_(m.bias)
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                nn.init.normal_(m.running_mean)
                nn.init.uniform_(m.running_var, 0.5, 2)
        elif isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.3)
    return module


def pair(config, **kwargs):
    """A stock head and ours with its parameters."""
    torch.manual_seed(0)
    stock = randomise(MODELS.build(dict(config, **kwargs)))
    ours = MODELS.build(dict(config, **kwargs, type=f'Fast{config["type"]}'))
    ours.load_state_dict(stock.state_dict(), strict=True)
    return stock, ours


def maps(config, size, *, batch=2, dtype=torch.float32):
    channels = config['in_channels']
    channels = channels if isinstance(channels, list) else [channels]
    return [
        torch.randn(batch, c, *(max(1, -(-s // 2**i)) for s in size), dtype=dtype)
        for i, c in enumerate(channels)
    ]


def assert_alike(config, size, *, tolerance, dtype, train, **kwargs):
    """Outputs, gradients of the inputs and of every parameter, and moving statistics.

    With a batch of 6: the norm of two values is next to a step, whose gradient is rounding noise.
    """
    results = []
    inputs = maps(config, size, dtype=dtype, batch=6)
    for head in pair(config, **kwargs):
        head = head.to(dtype).train(train)
        xs = [x.clone().requires_grad_() for x in inputs]
        out = head(xs)
        weights = torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)
        (out * weights).sum().backward()
        results.append(
            {'out': out.detach()}
            | {f'input {i}': x.grad for i, x in enumerate(xs)}
            | {n: p.grad for n, p in head.named_parameters() if not n.startswith('conv_seg')}
            | {n: b for n, b in head.named_buffers() if b.is_floating_point()}
        )
    stock, ours = results
    assert stock['out'].std() > 0.1 and len(stock) > 10
    for name, expected in stock.items():
        # A convolution before a batch norm in training has gradients of next to nothing.
        scale = max(expected.abs().max().item(), 1e-3)
        error = (ours[name] - expected).abs().max().item() / scale
        assert error < tolerance, f'{name}: {error}'
