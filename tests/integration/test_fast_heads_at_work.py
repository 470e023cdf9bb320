"""The fast heads as networks are run: autocast, compiled, exported, transformed, hooked."""

import copy

import pytest
import torch
from helpers.heads import (
    BN,
    CONFIGS,
    CPU_AUTOCAST,
    TORCH,
    TRACED,
    UPER,
    maps,
    pair,
)
from helpers.heads import cost as cost  # for each test, unasked
from mmcv.cnn import fuse_conv_bn
from mmengine.model import revert_sync_batchnorm
from mmengine.utils import digit_version
from mmseg.registry import MODELS
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint


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
def test_an_export_takes_any_batch_and_size(config, cost):
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
