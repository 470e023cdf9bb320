"""The fast heads against their stock counterparts: outputs, gradients, and how they are run."""

import copy

import pytest
import torch
from conftest import CPU_AUTOCAST
from mmcv.cnn import fuse_conv_bn
from mmengine.model import revert_sync_batchnorm
from mmengine.utils import digit_version
from mmseg.registry import MODELS
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

from pspnet_plugin.models import pyramid, taps

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
# The joined one does all that the plain one does.
TRACED = pytest.mark.parametrize('config', [JOINED, UPER], ids=['joined', 'uper'])
TORCH = digit_version(torch.__version__)
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


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 5e-5), (torch.float64, 1e-10)], ids=['32', '64']
)
@pytest.mark.parametrize('train', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('align_corners', [False, True], ids=['', 'corners'])
@pytest.mark.parametrize('bins', [(1,), (1, 2, 3, 6), (2, 5)], ids=str)
@pytest.mark.parametrize('size', [(1, 9), (13, 20), (31, 45)], ids=str)
@CONFIGS
def test_outputs_and_gradients_match_stock(
    config, size, bins, align_corners, train, dtype, tolerance
):
    assert_alike(
        config, size, tolerance=tolerance, dtype=dtype, train=train,
        pool_scales=bins, align_corners=align_corners, norm_cfg=BN,
        # In float32 no kink at 0, where a difference in the last digit turns a gradient on or off.
        act_cfg=dict(type='ReLU' if dtype == torch.float64 else 'GELU'),
    )  # fmt: skip


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(norm_cfg=None),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(norm_cfg=BN, act_cfg=dict(type='LeakyReLU', negative_slope=0.1)),
        dict(norm_cfg=BN, act_cfg=None),
        dict(norm_cfg=BN, conv_cfg=dict(type='ConvAWS')),
        dict(norm_cfg=BN, conv_cfg=dict(type='Conv2dAdaptivePadding')),
    ],
    ids=['no norm', 'GN', 'leaky', 'linear', 'standardised', 'padding'],
)
@CONFIGS
def test_every_argument_means_what_it_means_to_stock(config, kwargs):
    assert_alike(config, (13, 20), tolerance=1e-10, dtype=torch.float64, train=True, **kwargs)


@pytest.mark.parametrize('align_corners', [False, True], ids=['', 'corners'])
def test_joined_maps_may_be_larger_than_the_first(align_corners):
    config = dict(JOINED, in_channels=[6, 6, 8], in_index=[1, 0, 2], align_corners=align_corners)
    assert_alike(config, (13, 20), tolerance=1e-10, dtype=torch.float64, train=True, norm_cfg=BN)


@CONFIGS
def test_initialisation_and_dropout_follow_the_seed_as_in_stock(config):
    heads, outs = [], []
    for prefix in ('', 'Fast'):
        torch.manual_seed(3)
        head = MODELS.build(
            dict(config, type=prefix + config['type'], norm_cfg=BN, dropout_ratio=0.5)
        )
        head.init_weights()
        heads.append(head)
    inputs = maps(config, (13, 20))
    for head in heads:
        torch.manual_seed(4)
        outs.append(head.train()(inputs))
    torch.testing.assert_close(outs[1], outs[0], rtol=1e-4, atol=1e-5)


@CONFIGS
@pytest.mark.parametrize('dtype', CPU_AUTOCAST, ids=str)
def test_autocast_is_as_exact_as_stock(config, dtype):
    stock, ours = (head.eval() for head in pair(config, norm_cfg=BN))
    inputs = maps(config, (31, 45))
    exact = stock(inputs)
    with torch.autocast('cpu', dtype):
        errors = [(head(inputs).float() - exact).abs().mean() for head in (stock, ours)]
    assert errors[0] > 0 and errors[1] < 1.5 * errors[0]


@CONFIGS
def test_training_under_autocast_gives_finite_gradients(config):
    _, head = pair(config, norm_cfg=BN)
    with torch.autocast('cpu', torch.bfloat16):
        out = head(maps(config, (31, 45)))
    out.float().square().mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


@CONFIGS
def test_channels_last_gives_the_same_and_stays_channels_last(config):
    stock, ours = (head.eval() for head in pair(config, norm_cfg=BN))
    inputs = maps(config, (31, 45))
    ours = ours.to(memory_format=torch.channels_last)
    got = ours([x.contiguous(memory_format=torch.channels_last) for x in inputs])
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, stock(inputs), rtol=1e-4, atol=1e-4)


@CONFIGS
def test_fusing_convolution_and_norm_gives_the_same(config):
    _, ours = pair(config, norm_cfg=BN)
    inputs = maps(config, (13, 20))
    expected = ours.eval()(inputs)
    fused = fuse_conv_bn(copy.deepcopy(ours))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    torch.testing.assert_close(fused(inputs), expected, rtol=1e-4, atol=1e-4)


@CONFIGS
def test_gradient_checkpointing_changes_nothing(config):
    _, head = pair(config, norm_cfg=BN)
    inputs = [x.requires_grad_() for x in maps(config, (13, 20))]
    head.eval()
    plain = torch.autograd.grad(head(inputs).square().sum(), inputs)
    saved = checkpoint(lambda *xs: head(list(xs)), *inputs, use_reentrant=False)
    for a, b in zip(torch.autograd.grad(saved.square().sum(), inputs), plain, strict=True):
        torch.testing.assert_close(a, b)


@CONFIGS
def test_sync_batch_norm_of_stock_configs_is_reverted_as_in_stock(config):
    stock, ours = (
        revert_sync_batchnorm(head).eval() for head in pair(config, norm_cfg=dict(type='SyncBN'))
    )
    inputs = maps(config, (13, 20))
    torch.testing.assert_close(ours(inputs), stock(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    digit_version('2.2') > TORCH, reason='graphs of torch 2.1 break where a layout is asked for'
)
@TRACED
def test_one_graph_without_breaks_at_dynamic_sizes(config, cost):
    """The graph is captured whole, and anew only where another way of computing is cheaper."""
    _, head = pair(config, norm_cfg=BN)
    head.eval()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(head, fullgraph=True, dynamic=True, backend=backend)
    for size in ((13, 20), (31, 45), (26, 17)):
        inputs = maps(config, size)
        torch.testing.assert_close(compiled(inputs), head(inputs), rtol=1e-4, atol=1e-4)
    assert len(graphs) <= (1 if cost == 0 else 2)


TRANSFORMS = {
    'jvp': lambda f, x: torch.func.jvp(f, (x,), (x.cos(),))[1],
    'vmap': lambda f, x: torch.func.vmap(lambda one: f(one[None]))(x),
    'grad': lambda f, x: torch.func.grad(lambda y: f(y).square().sum())(x),
    'vmap of grad': lambda f, x: torch.func.vmap(
        torch.func.grad(lambda one: f(one[None]).square().sum())
    )(x),
    'derivative of a derivative': lambda f, x: torch.func.grad(
        lambda y: torch.func.grad(lambda z: f(z).pow(3).sum())(y).square().sum()
    )(x),
}


@pytest.mark.parametrize('name', TRANSFORMS)
@CONFIGS
def test_function_transforms_match_stock(config, name):
    inputs = maps(config, (13, 20), dtype=torch.float64)
    results = []
    for head in pair(config, norm_cfg=BN):
        head = head.double().eval()

        def of_last(last, head=head):
            return head([*(x[: len(last)] for x in inputs[:-1]), last])

        results.append(TRANSFORMS[name](of_last, inputs[-1]))
    expected, found = results
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8 * expected.abs().max().item())


@CONFIGS
def test_a_parametrised_weight_matches_stock(config):
    inputs = maps(config, (13, 20))
    results = []
    for head in pair(config, norm_cfg=BN):
        weight_norm(head.eval().bottleneck.conv)
        out = head(inputs)
        out.square().mean().backward()
        results.append((out, head.bottleneck.conv.parametrizations.weight.original1.grad))
    assert results[0][1].abs().max() > 1e-3
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.7'), reason='exports begin with torch 2.7'
)
@TRACED
def test_an_export_takes_any_batch_and_size(config):
    """Which it would not, if a choice in the graph depended on one."""
    _, head = pair(config, norm_cfg=BN)
    head.eval()
    free = torch.export.Dim.DYNAMIC
    for axes, sizes in ((0,), [(32, 48)]), ((0, 2, 3), [(32, 48), (80, 112)]):
        inputs = maps(config, (32, 48))
        shapes = ([dict.fromkeys(axes, free) for _ in inputs],)
        graph = torch.export.export(head, (inputs,), dynamic_shapes=shapes, strict=False).module()
        for size in sizes:
            inputs = maps(config, size, batch=40)
            torch.testing.assert_close(graph(inputs), head(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@CONFIGS
def test_gradients_on_cuda_are_deterministic(config, monkeypatch):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    _, head = pair(config, norm_cfg=BN)
    head = head.cuda()
    inputs = [x.cuda().requires_grad_() for x in maps(config, (31, 45))]
    torch.use_deterministic_algorithms(True)
    try:
        runs = [torch.autograd.grad(head(inputs).square().sum(), inputs) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@CONFIGS
def test_parts_and_checks_of_stock_are_there(config):
    """What code written for the stock head looks at."""
    ours = f'Fast{config["type"]}'
    with pytest.raises(AssertionError):
        MODELS.build(dict(config, type=ours, in_channels=7 if config is UPER else 7.5))
    plain = MODELS.build(dict(config, type=ours, pool_scales=(1, 2, 3)))
    assert [level[0].output_size for level in plain.psp_modules] == [1, 2, 3]
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase) for m in plain.modules())
    synced = MODELS.build(dict(config, type=ours, norm_cfg=dict(type='SyncBN')))
    assert all(isinstance(level[1].norm, nn.SyncBatchNorm) for level in synced.psp_modules)
    assert isinstance(synced, MODELS.get(config['type']))


@CONFIGS
def test_hooks_of_the_bottleneck_see_its_output(config):
    _, head = pair(config, norm_cfg=BN)
    seen = []
    head.bottleneck.register_forward_hook(lambda *args: seen.append(args[-1].shape))
    head.bottleneck.conv.register_forward_hook(lambda *args: seen.append(args[-1].shape))
    out = head(maps(config, (13, 20)))
    assert len(seen) == 2 and seen[0] == seen[1]
    assert out.shape == (2, 5, 13, 20)


@CONFIGS
def test_one_picture_trains_by_running_statistics(config):
    stock, ours = pair(config, norm_cfg=BN)
    inputs = maps(config, (13, 20), batch=1)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        stock.train()(inputs)
    norms = [level[1].norm for level in ours.psp_modules]
    before = [norm.running_mean.clone() for norm in norms]
    ours.train()(inputs).square().sum().backward()
    changed = [not torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True)]
    assert changed == [False, True, True, True]
    for name, parameter in ours.psp_modules.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_window_head_with_norms_trains_with_one_picture_too():
    head = MODELS.build(
        dict(type='WindowPSPHead', in_channels=8, in_index=0, num_classes=3, norm_cfg=BN)
    )
    head.train()([torch.randn(1, 8, 16, 16)]).sum().backward()
    assert head.levels[0].conv.weight.grad.abs().sum() > 0
