"""The pyramid's mathematics against torch's own operators, over sizes, kernels and layouts."""

from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import always_pays, pairwise

from pspnet_plugin.models.layers import conv_over_concat, pool, pyramid, tap_products, upsample
from pspnet_plugin.models.layers.pyramid import pays_at_bins
from pspnet_plugin.models.layers.resampling import matrix_like, pooling_matrix

SIZES = [(1, 9), (2, 7), (8, 8), (13, 20), (33, 40)]
BINS = [(1,), (1, 2, 3, 6), (2, 5), ((2, 3), (7, 1))]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture
def at_bins(monkeypatch):
    """Keep all levels at their bins."""
    monkeypatch.setattr(pyramid, 'pays_at_bins', always_pays)


def make(size, bins, *, channels=4, out=6, kernel=3, batch=2):
    """A feature map, its levels, weight and bias in float64, none of them degenerate."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x = randn(batch, 12, *size)
    levels = [level[:, :channels].clone() for level in pool(x, bins)]
    weight = randn(out, 12 + channels * len(bins), kernel, kernel)
    return x, levels, weight, randn(out)


def reference(x, levels, weight, bias, *, align_corners=False):
    """Compute what ``conv_over_concat`` stands for."""
    resize = partial(F.interpolate, size=x.shape[2:], mode='bilinear', align_corners=align_corners)
    x = torch.cat([x, *map(resize, levels)], 1)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


@pytest.mark.parametrize('case', pairwise(size=SIZES, bins=BINS, layout=LAYOUTS))
def test_pool_and_upsample_match_torch(case):
    x = make(case['size'], case['bins'])[0].to(memory_format=case['layout'])
    for grid, pooled in zip(case['bins'], pool(x, case['bins']), strict=True):
        torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(x, grid))
        pooled = pooled.contiguous(memory_format=case['layout'])
        for size, corners in product((case['size'], (1, 5), (4, 1)), (False, True)):
            expected = F.interpolate(pooled, size, mode='bilinear', align_corners=corners)
            torch.testing.assert_close(upsample(pooled, size, align_corners=corners), expected)


@pytest.mark.parametrize(
    'case',
    pairwise(size=SIZES, bins=BINS, kernel=[1, 3, 5], layout=LAYOUTS, align_corners=[False, True],
             bias=[True, False], copies_are_free=[True, False], columns=[1, 50, 10_000]),
)  # fmt: skip
def test_conv_over_concat_is_the_convolution(case, monkeypatch):
    if case['copies_are_free']:  # small levels stay at their bins too
        monkeypatch.setattr(pyramid, 'MULTIPLY_ADDS_PER_COPY', 0)
    monkeypatch.setattr(tap_products, 'MIN_COLUMNS_TO_COPY_WEIGHT', case['columns'])
    x, levels, weight, bias = make(case['size'], case['bins'], kernel=case['kernel'])
    x, weight = (t.to(memory_format=case['layout']) for t in (x, weight))
    bias = bias if case['bias'] else None
    corners = case['align_corners']
    got = conv_over_concat(x, levels, weight, bias, align_corners=corners)
    expected = reference(x, levels, weight, bias, align_corners=corners)
    assert expected.std() > 1
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize('pays', [[True, True], [False, False]], ids=str)
def test_levels_larger_than_x_are_cropped(monkeypatch, pays):
    monkeypatch.setattr(pyramid, 'pays_at_bins', lambda *_: pays)
    x, levels, weight, bias = make((9, 13), (3, 2))
    sizes = [(12, 16), (10, 14)]
    up = [
        F.interpolate(level, size, mode='bilinear')[..., :9, :13]
        for level, size in zip(levels, sizes, strict=True)
    ]
    expected = F.conv2d(torch.cat([x, *up], 1), weight, bias, padding=1)
    got = conv_over_concat(x, levels, weight, bias, upsampled_sizes=sizes)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('layout', LAYOUTS, ids=str)
@pytest.mark.parametrize('align_corners', [False, True])
def test_gradients_are_exact_and_have_gradients(at_bins, align_corners, layout):
    x, levels, weight, bias = make((4, 3), (1, 2), channels=2, out=2)
    x = x[:, :2].contiguous(memory_format=layout)
    inputs = [t.detach().requires_grad_() for t in (x, *levels, weight[:, :6], bias)]

    def function(x, first, second, weight, bias):
        return conv_over_concat(x, [first, second], weight, bias, align_corners=align_corners)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)
    assert torch.autograd.gradcheck(lambda x: tuple(pool(x, (1, 3))), inputs[:1])
    resize = partial(upsample, to=(5, 4), align_corners=align_corners)
    assert torch.autograd.gradcheck(resize, inputs[2:3])


@pytest.mark.parametrize('layout', LAYOUTS, ids=str)
@pytest.mark.parametrize('pays', [[True, True], [True, False], [False, True]], ids=str)
@pytest.mark.parametrize('block', [300, 3000], ids=['channels', 'images'])
def test_blocks_and_frozen_parts_change_no_gradient(monkeypatch, pays, layout, block):
    """Against plain autograd, whatever needs a gradient, in blocks of a few channels or images."""
    monkeypatch.setattr(tap_products, 'BLOCK_FLOATS', block)
    monkeypatch.setattr(pyramid, 'pays_at_bins', lambda *_: pays)
    x, levels, weight, bias = make((9, 13), (3, 2), out=7)
    tensors = [t.contiguous(memory_format=layout) for t in (x, *levels, weight)] + [bias]
    for frozen in ((), (0,), (1,), (3,), (4,), (0, 1, 2), (1, 2, 3)):
        wanted = [i for i in range(5) if i not in frozen]
        grads = []
        for function in (conv_over_concat, reference):
            x, *levels, w, b = (
                t.detach().requires_grad_(i in wanted) for i, t in enumerate(tensors)
            )
            y = function(x, levels, w, b)
            assert function is reference or y.grad_fn.name() == '_ConvWithTapsBackward'
            cotangent = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
            cotangent = cotangent.contiguous(memory_format=layout)
            grads.append(torch.autograd.grad(y, [(x, *levels, w, b)[i] for i in wanted], cotangent))
        torch.testing.assert_close(*grads, rtol=0, atol=1e-10)
        for i, grad in zip(wanted, grads[0], strict=True):
            assert i not in (1, 2) or grad.is_contiguous(memory_format=layout)


def test_training_saves_nothing_but_the_inputs(at_bins):
    x, levels, weight, bias = make((9, 13), (3, 2))
    inputs = [t.requires_grad_() for t in (x, *levels, weight, bias)]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        conv_over_concat(x, levels, weight, bias)
    assert saved
    assert {t.data_ptr() for t in saved} <= {t.data_ptr() for t in inputs}


@pytest.mark.parametrize(
    ('size', 'bins', 'pays'),
    [
        ((64, 128), (1, 2, 3, 6), [True] * 4),
        ((32, 32), (1, 2, 3, 6), [True] * 4),
        ((8, 8), (1, 2, 3, 6), [False] * 4),
        ((24, 24), (1, 22), [True, False]),  # nearly as many bins as pixels
        ((24, 24), (1, 24), [True, False]),  # nothing to upsample
    ],
    ids=str,
)
def test_levels_stay_at_their_bins_where_it_pays(size, bins, pays):
    x = torch.empty(1, 2048, *size, device='meta')
    levels = [torch.empty(1, 512, b, b, device='meta') for b in bins]
    weight = torch.empty(512, 2048 + 512 * len(bins), 3, 3, device='meta')
    assert pays_at_bins(x, levels, weight) == pays


@pytest.mark.parametrize(
    'shape', [(6, 20, 2, 2), (6, 20, 3, 1), (6, 19, 3, 3)], ids=['even', 'oblong', 'channels']
)
def test_weights_that_do_not_fit_are_named(shape):
    x, levels, *_ = make((5, 7), (1, 2))
    with pytest.raises(ValueError) as error:
        conv_over_concat(x, levels, torch.zeros(shape, dtype=torch.float64))
    assert str(shape) in str(error.value) and '12 + 4 + 4' in str(error.value)


def test_matrices_are_cached_and_serve_training_after_inference_mode():
    with torch.inference_mode():
        first = matrix_like(torch.zeros(1), pooling_matrix, 31, (3,))
    second = matrix_like(torch.zeros(1, requires_grad=True), pooling_matrix, 31, (3,))
    assert first is second and not second.is_inference()
    other = matrix_like(torch.zeros(1, dtype=torch.float64), pooling_matrix, 31, (3,))
    assert other.dtype == torch.float64
    x = torch.randn(31, requires_grad=True)
    (second @ x).sum().backward()
    assert x.grad.abs().sum() > 0
