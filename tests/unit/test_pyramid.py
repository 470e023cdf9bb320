"""The pyramid's mathematics against torch's own operators, over sizes, kernels and layouts."""

import pytest
import torch
import torch.nn.functional as F

from pspnet_plugin.models.layers import pyramid, taps, taps_plan
from pspnet_plugin.models.layers.pyramid import apart, conv_over_concat, pool, upsample
from pspnet_plugin.models.layers.resampling import interpolation_matrix, matrix_like, pooling_matrix

SIZES = [(1, 9), (5, 7), (8, 8), (13, 20), (33, 40)]
BINS = {'1': (1,), '1236': (1, 2, 3, 6), '25': (2, 5), 'oblong': ((2, 3), (7, 1))}


def make(size, bins, *, maps=4, out=6, kernel=3, batch=2, seed=0):
    """A map, its levels, weight and bias in float64, none of them degenerate."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x = randn(batch, 12, *size)
    levels = [level[:, :maps].clone() for level in pool(x, bins)]
    weight = randn(out, 12 + maps * len(bins), kernel, kernel)
    return x, levels, weight, randn(out)


def plainly(x, levels, weight, bias, *, align_corners):
    """What ``conv_over_concat`` stands for."""
    up = [
        F.interpolate(p, x.shape[2:], mode='bilinear', align_corners=align_corners) for p in levels
    ]
    return F.conv2d(torch.cat([x, *up], 1), weight, bias, padding=weight.shape[-1] // 2)


@pytest.fixture(params=[0, pyramid.COPY], ids=['apart', 'counted'])
def cost(request, monkeypatch):
    """Moving floats free of charge, so that small levels are kept apart too; and as counted."""
    monkeypatch.setattr(pyramid, 'COPY', request.param)
    monkeypatch.setattr(taps, 'FEW', request.param)
    return request.param


@pytest.mark.parametrize('size', [1, 2, 5, 6, 9, 45, 128])
@pytest.mark.parametrize('bins', [1, 2, 3, 6, 7])
def test_pooling_matrix_is_adaptive_average_pooling(size, bins):
    x = torch.randn(3, size, dtype=torch.float64)
    torch.testing.assert_close(x @ pooling_matrix(size, bins).T, F.adaptive_avg_pool1d(x, bins))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('size', 'to'), [(1, 1), (1, 7), (6, 1), (2, 9), (6, 45), (9, 9), (64, 33)]
)
def test_interpolation_matrix_is_interpolate(size, to, align_corners):
    x = torch.randn(1, 3, size, dtype=torch.float64)
    expected = F.interpolate(x, to, mode='linear', align_corners=align_corners)
    matrix = interpolation_matrix(size, to, align_corners)
    torch.testing.assert_close(x @ matrix.T, expected)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['', 'last'])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('bins', BINS.values(), ids=BINS)
def test_pool_and_upsample_match_torch(size, bins, layout):
    x = make(size, bins)[0].to(memory_format=layout)
    for grid, pooled in zip(bins, pool(x, bins), strict=True):
        torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(x, grid))
        pooled = pooled.contiguous(memory_format=layout)
        for align_corners in (False, True):
            expected = F.interpolate(pooled, size, mode='bilinear', align_corners=align_corners)
            got = upsample(pooled, size, align_corners=align_corners)
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['', 'last'])
@pytest.mark.parametrize('kernel', [1, 3, 5])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('bins', BINS.values(), ids=BINS)
def test_conv_over_concat_is_the_convolution(cost, size, bins, align_corners, kernel, layout):
    x, levels, weight, bias = make(size, bins, kernel=kernel)
    x, weight = x.to(memory_format=layout), weight.to(memory_format=layout)
    for b in (bias, None):
        got = conv_over_concat(x, levels, weight, b, align_corners=align_corners)
        expected = plainly(x, levels, weight, b, align_corners=align_corners)
        assert expected.std() > 1
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_many_bins_and_few_bins_take_both_ways_to_the_same_taps(monkeypatch):
    """More columns than ``FEW`` copy the weight; fewer multiply it where it lies."""
    x, levels, weight, bias = make((24, 20), ((12, 10), 2))
    expected = plainly(x, levels, weight, bias, align_corners=False)
    monkeypatch.setattr(pyramid, 'apart', lambda *_: [True, True])
    for few in (1, 200, 10_000):
        monkeypatch.setattr(taps, 'FEW', few)
        got = conv_over_concat(x, levels, weight, bias)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize('separate', [[True, False], [False, True], [False, False]], ids=str)
def test_levels_may_be_mixed(monkeypatch, separate):
    monkeypatch.setattr(pyramid, 'apart', lambda *_: separate)
    x, levels, weight, bias = make((9, 13), (3, 2))
    expected = plainly(x, levels, weight, bias, align_corners=False)
    torch.testing.assert_close(conv_over_concat(x, levels, weight, bias), expected)


def test_spans_are_upsampled_whole_and_cut():
    x, levels, weight, bias = make((9, 13), (3, 2))
    spans = [(12, 16), (10, 14)]
    up = [
        F.interpolate(p, span, mode='bilinear')[..., :9, :13]
        for p, span in zip(levels, spans, strict=True)
    ]
    expected = F.conv2d(torch.cat([x, *up], 1), weight, bias, padding=1)
    for separate in ([True, True], [False, False]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pyramid, 'apart', lambda *_, choice=separate: choice)
            got = conv_over_concat(x, levels, weight, bias, spans=spans)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['', 'last'])
@pytest.mark.parametrize('align_corners', [False, True])
def test_gradients_are_exact(monkeypatch, align_corners, layout):
    monkeypatch.setattr(pyramid, 'apart', lambda _, levels, *__: [True] * len(levels))
    x, levels, weight, bias = make((5, 4), (1, 3), maps=2, out=3)
    x = x[:, :3].contiguous(memory_format=layout)
    inputs = [t.detach().requires_grad_() for t in (x, *levels, weight[:, :7], bias)]

    def function(x, first, second, weight, bias):
        return conv_over_concat(x, [first, second], weight, bias, align_corners=align_corners)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradcheck(lambda x: tuple(pool(x, (1, 3))), inputs[:1])
    assert torch.autograd.gradcheck(
        lambda p: upsample(p, (5, 4), align_corners=align_corners), inputs[2:3]
    )


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['', 'last'])
@pytest.mark.parametrize('mixed', [False, True], ids=['', 'mixed'])
@pytest.mark.parametrize('block', [300, 3000], ids=['maps', 'pictures'])
def test_blocks_and_frozen_parts_change_no_gradient(monkeypatch, mixed, layout, block):
    """Against plain autograd, whatever needs a gradient, in blocks of a few maps or pictures."""
    monkeypatch.setattr(taps_plan, 'BLOCK', block)
    monkeypatch.setattr(pyramid, 'apart', lambda *_: [True, not mixed])
    x, levels, weight, bias = make((9, 13), (3, 2), out=7)
    tensors = [t.contiguous(memory_format=layout) for t in (x, *levels, weight)] + [bias]
    for frozen in ((), (0,), (1,), (3,), (4,), (0, 1, 2), (1, 2, 3)):
        wanted = [i for i in range(5) if i not in frozen]
        found = []
        for function in (conv_over_concat, plainly):
            *maps, w, b = (t.detach().requires_grad_(i in wanted) for i, t in enumerate(tensors))
            y = function(maps[0], maps[1:], w, b, align_corners=False)
            assert function is plainly or y.grad_fn.name() == '_ConvWithTapsBackward'
            cotangent = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
            found.append(torch.autograd.grad(y, [(*maps, w, b)[i] for i in wanted], cotangent))
        torch.testing.assert_close(*found, rtol=0, atol=1e-10)


def test_gradients_have_gradients(monkeypatch):
    monkeypatch.setattr(pyramid, 'apart', lambda _, levels, *__: [True] * len(levels))
    x, levels, weight, _ = make((4, 3), (1, 2), maps=2, out=2)
    inputs = [t.detach().requires_grad_() for t in (x[:, :2], *levels, weight[:, :6])]
    assert torch.autograd.gradgradcheck(
        lambda x, first, second, weight: conv_over_concat(x, [first, second], weight), inputs
    )


def test_training_holds_no_map_for_the_way_back(monkeypatch):
    """What is saved are the inputs themselves."""
    monkeypatch.setattr(pyramid, 'apart', lambda _, levels, *__: [True] * len(levels))
    x, levels, weight, bias = make((9, 13), (3, 2))
    inputs = [t.requires_grad_() for t in (x, *levels, weight, bias)]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        conv_over_concat(x, levels, weight, bias)
    assert {t.data_ptr() for t in saved} <= {t.data_ptr() for t in inputs}


def test_levels_are_kept_apart_where_it_pays():
    def choose(size, bins, *, c=2048, m=512, out=512):
        x = torch.empty(1, c, *size, device='meta')
        levels = [torch.empty(1, m, b, b, device='meta') for b in bins]
        weight = torch.empty(out, c + m * len(bins), 3, 3, device='meta')
        return apart(x, levels, weight)

    assert choose((64, 128), (1, 2, 3, 6)) == [True] * 4
    assert choose((32, 32), (1, 2, 3, 6)) == [True] * 4
    assert choose((8, 8), (1, 2, 3, 6)) == [False] * 4
    assert choose((24, 24), (1, 22)) == [True, False]  # nearly as many bins as pixels


@pytest.mark.parametrize(
    'shape', [(6, 20, 2, 2), (6, 20, 3, 1), (6, 19, 3, 3)], ids=['even', 'oblong', 'maps']
)
def test_weights_that_do_not_fit_are_named(shape):
    x, levels, *_ = make((5, 7), (1, 2))
    with pytest.raises(ValueError, match=r'weight of shape .* expected \(O, 12 \+ 4 \+ 4, k, k\)'):
        conv_over_concat(x, levels, torch.zeros(shape, dtype=torch.float64))


def test_matrices_are_kept_and_serve_training_after_inference_mode():
    with torch.inference_mode():
        first = matrix_like(torch.zeros(1), pooling_matrix, 31, 3)
    second = matrix_like(torch.zeros(1, requires_grad=True), pooling_matrix, 31, 3)
    assert first is second and not second.is_inference()
    assert matrix_like(torch.zeros(1, dtype=torch.float64), pooling_matrix, 31, 3) is not first
    x = torch.randn(31, requires_grad=True)
    (second @ x).sum().backward()
    assert x.grad.abs().sum() > 0
