"""Tests that every fast head inherits: parity with its stock counterpart, however it is run."""

from collections.abc import Iterable, Sequence
from itertools import combinations, product

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.model import revert_sync_batchnorm
from mmengine.utils import digit_version
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

from pspnet_plugin.models.layers import pyramid, tap_products

BN = dict(type='BN')
TORCH = digit_version(torch.__version__)
# float16 on CPUs came with torch 2.4.
CPU_AUTOCAST = [torch.bfloat16, torch.float16][: 2 if digit_version('2.4') <= TORCH else 1]
TRANSFORMS = {
    'jvp': lambda f, x: torch.func.jvp(f, (x,), (x.cos(),))[1],
    'vmap': lambda f, x: torch.func.vmap(lambda one: f(one[None]))(x),
    'vmap of grad': lambda f, x: torch.func.vmap(
        torch.func.grad(lambda one: f(one[None]).square().sum())
    )(x),
    'grad of grad': lambda f, x: torch.func.grad(
        lambda y: torch.func.grad(lambda z: f(z).pow(3).sum())(y).square().sum()
    )(x),
}


def pairwise(**factors: Iterable) -> list:
    """Return few cases that together hold every pair of values of any two factors."""
    names = list(factors)

    def pairs(case: tuple) -> set:
        return set(combinations(zip(names, map(str, case), strict=True), 2))

    cases = list(product(*factors.values()))
    missing, chosen = set().union(*map(pairs, cases)), []
    while missing:
        chosen.append(max(cases, key=lambda case: len(pairs(case) & missing)))
        missing -= pairs(chosen[-1])
    cases = (dict(zip(names, case, strict=True)) for case in chosen)
    return [pytest.param(c, id=' '.join(f'{n}={v}' for n, v in c.items())) for c in cases]


def randomise(module: nn.Module) -> nn.Module:
    """Draw norms that are no identity: an identity hides a misplaced one."""
    for m in module.modules():
        if isinstance(m, _BatchNorm | nn.GroupNorm):
            nn.init.normal_(m.weight)
            nn.init.normal_(m.bias)
            if isinstance(m, _BatchNorm):
                nn.init.normal_(m.running_mean)
                nn.init.uniform_(m.running_var, 0.5, 2)
        elif isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.3)
    return module


def assert_gradients(module: nn.Module, *, at_least: int) -> None:
    """Every parameter has a finite gradient other than zero."""
    parameters = dict(module.named_parameters())
    assert len(parameters) >= at_least
    for n, p in parameters.items():
        assert p.grad is not None, f'no gradient for {n}'
        assert p.grad.isfinite().all() and p.grad.abs().sum() > 0, f'{n}: {p.grad}'


def always_pays(x: Tensor, levels: Sequence[Tensor], weight: Tensor) -> list[bool]:
    """Keep all levels at their bins, in place of ``pays_at_bins``."""
    return [True] * len(levels)


class _FastHead:
    """Builds the head of ``config`` and its fast counterpart ``Fast...``."""

    config: dict  # of the stock head: type, in_channels, in_index
    always_at_bins = True  # also where it does not pay, as with the small sizes of tests

    @pytest.fixture(autouse=True)
    def _at_bins(self, monkeypatch):
        torch.manual_seed(0)
        if self.always_at_bins:
            monkeypatch.setattr(pyramid, 'pays_at_bins', always_pays)

    def build(self, fast: bool, **kwargs) -> nn.Module:
        defaults = dict(channels=8, num_classes=5, dropout_ratio=0, norm_cfg=BN)
        config = defaults | self.config | kwargs
        return MODELS.build(dict(config, type='Fast' * fast + config['type']))

    def pair(self, **kwargs) -> tuple[nn.Module, nn.Module]:
        """The stock head and ours with its parameters."""
        stock, ours = randomise(self.build(False, **kwargs)), self.build(True, **kwargs)
        ours.load_state_dict(stock.state_dict(), strict=True)
        return stock, ours

    def inputs(self, size=(13, 20), *, batch=2, dtype=torch.float32) -> list[Tensor]:
        channels = self.config['in_channels']
        return [
            torch.randn(batch, c, *(-(-s // 2**i) for s in size), dtype=dtype)
            for i, c in enumerate(channels if isinstance(channels, list) else [channels])
        ]

    def assert_parity(self, size, *, dtype=torch.float64, train=True, **kwargs) -> None:
        """Outputs, gradients of inputs and parameters, and running statistics match stock.

        With a batch of 6: the norm of two values is next to a step, whose gradient is noise.
        """
        inputs, results = self.inputs(size, batch=6, dtype=dtype), []
        for head in self.pair(**kwargs):
            xs = [x.clone().requires_grad_() for x in inputs]
            out = head.to(dtype).train(train)(xs)
            (out * torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)).sum().backward()
            parameters = dict(head.named_parameters())
            for n, p in parameters.items():
                assert p.grad is not None, f'no gradient for {n}'
            results.append(
                {'out': out.detach()}
                | {f'input {i}': x.grad for i, x in enumerate(xs)}
                | {n: p.grad for n, p in parameters.items() if not n.startswith('conv_seg')}
                | {n: b for n, b in head.named_buffers() if b.is_floating_point()}
            )
        stock, ours = results
        assert stock['out'].std() > 0.1 and len(stock) > 5
        for name, expected in stock.items():
            # A convolution before a batch norm in training has gradients of next to nothing.
            scale = max(expected.abs().max().item(), 1e-3)
            error = (ours[name] - expected).abs().max().item() / scale
            assert error < (1e-10 if dtype == torch.float64 else 5e-5), f'{name}: {error}'


class LightHam:
    """Config of a ``LightHamHead`` that holds its bases from the start; stock draws them later."""

    config = dict(
        type='LightHamHead', in_channels=[6, 8, 12], in_index=[0, 1, 2], ham_channels=8,
        ham_kwargs=dict(MD_R=4, rand_init=False),
    )  # fmt: skip

    def build(self, fast: bool, **kwargs) -> nn.Module:
        head = super().build(fast, **kwargs)
        ham = head.hamburger.ham
        ham.register_buffer('bases', ham._build_bases(1, ham.S, 8, ham.R, device='cpu'))
        return head


class FastHeadTester(_FastHead):
    """Base of the unit tests of a fast head."""

    fused = 'bottleneck'  # the module whose convolution is computed differently
    factors = dict(
        size=[(1, 9), (13, 20), (31, 45)],
        dtype=[torch.float32, torch.float64],
        train=[True, False],
        align_corners=[False, True],
        at_bins=[True, False],
    )

    def pytest_generate_tests(self, metafunc):
        if 'case' in metafunc.fixturenames:
            metafunc.parametrize('case', pairwise(**self.factors))

    def test_outputs_and_gradients_match_stock(self, case, monkeypatch):
        case = dict(case)
        if not case.pop('at_bins'):
            monkeypatch.undo()
        # In float32 no kink at 0, where a difference in the last digit turns a gradient on or off.
        act = dict(type='ReLU' if case['dtype'] == torch.float64 else 'GELU')
        self.assert_parity(case.pop('size'), act_cfg=act, **case)

    @pytest.mark.parametrize(
        'kwargs',
        [
            dict(norm_cfg=None),
            dict(norm_cfg=dict(type='GN', num_groups=2)),
            dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1)),
            dict(act_cfg=None),
            dict(conv_cfg=dict(type='ConvAWS')),
            dict(conv_cfg=dict(type='Conv2dAdaptivePadding')),
        ],
        ids=['no norm', 'GN', 'leaky', 'linear', 'standardised', 'padding'],
    )
    def test_arguments_mean_what_they_mean_to_stock(self, kwargs):
        self.assert_parity((13, 20), **kwargs)

    def test_initialisation_and_dropout_follow_the_seed_as_in_stock(self):
        inputs, outs = self.inputs(), []
        for fast in (False, True):
            torch.manual_seed(3)
            head = self.build(fast, dropout_ratio=0.5)
            head.init_weights()
            outs.append(head.train()(inputs))
        assert outs[0].std() > 0
        torch.testing.assert_close(outs[1], outs[0], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize('dtype', CPU_AUTOCAST, ids=str)
    def test_autocast_is_as_exact_as_stock(self, dtype):
        stock, ours = (head.eval() for head in self.pair())
        inputs = self.inputs((31, 45))
        exact = stock(inputs)
        with torch.autocast('cpu', dtype):
            errors = [(head(inputs).float() - exact).abs().mean() for head in (stock, ours)]
            out = ours.train()(inputs)
        assert errors[0] > 0 and errors[1] < 1.5 * errors[0]
        out.float().square().mean().backward()
        assert_gradients(ours, at_least=5)

    def test_channels_last_stays_and_matches_stock(self):
        stock, ours = (head.eval() for head in self.pair())
        inputs, last = self.inputs((31, 45)), torch.channels_last
        got = ours.to(memory_format=last)([x.contiguous(memory_format=last) for x in inputs])
        assert got.is_contiguous(memory_format=last)
        torch.testing.assert_close(got, stock(inputs), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize('change', [fuse_conv_bn, revert_sync_batchnorm])
    def test_changed_norms_match_stock(self, change):
        stock, ours = self.pair(norm_cfg=dict(type='SyncBN'))
        stock, inputs = revert_sync_batchnorm(stock).eval(), self.inputs()
        assert any(isinstance(m, nn.SyncBatchNorm) for m in ours.modules())
        ours = change(ours.eval())
        assert not any(isinstance(m, nn.SyncBatchNorm) for m in ours.modules())
        torch.testing.assert_close(ours(inputs), stock(inputs), rtol=1e-4, atol=1e-4)

    def test_gradient_checkpointing_changes_nothing(self):
        head = self.pair()[1].eval()
        inputs = [x.requires_grad_() for x in self.inputs()]
        plain = torch.autograd.grad(head(inputs).square().sum(), inputs)
        out = checkpoint(lambda *xs: head(list(xs)), *inputs, use_reentrant=False)
        torch.testing.assert_close(torch.autograd.grad(out.square().sum(), inputs), plain)

    def test_hooks_see_the_output_of_the_fused_module(self):
        head, shapes = self.build(True), []
        module = head.get_submodule(self.fused)
        for m in (module, module.conv):
            m.register_forward_hook(lambda *args: shapes.append(args[-1].shape))
        assert head(self.inputs()).shape == (2, 5, 13, 20)
        assert len(shapes) == 2 and shapes[0] == shapes[1]

    def test_a_parametrised_weight_matches_stock(self):
        inputs, results = self.inputs(), []
        for head in self.pair():
            conv = weight_norm(head.eval().get_submodule(self.fused).conv)
            out = head(inputs)
            out.square().mean().backward()
            results.append((out, conv.parametrizations.weight.original1.grad))
        assert results[0][1].abs().max() > 1e-3
        torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize('name', TRANSFORMS)
    def test_function_transforms_match_stock(self, name):
        inputs, results = self.inputs(dtype=torch.float64), []
        for head in self.pair():
            head = head.double().eval()

            def of_last(x, head=head):
                return head([*(other[: len(x)] for other in inputs[:-1]), x])

            results.append(TRANSFORMS[name](of_last, inputs[-1]))
        scale = results[0].abs().max().item()
        assert scale > 0.1
        torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-8 * scale)

    @pytest.mark.gpu
    def test_gradients_on_cuda_are_deterministic(self, monkeypatch):
        monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        head = self.pair()[1].cuda()
        inputs = [x.cuda().requires_grad_() for x in self.inputs((31, 45))]
        torch.use_deterministic_algorithms(True)
        try:
            runs = [torch.autograd.grad(head(inputs).square().sum(), inputs) for _ in range(2)]
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


class FastPyramidHeadTester(FastHeadTester):
    """Base of the unit tests of a fast head that holds a pyramid of bins, stock ``PPM``."""

    factors = FastHeadTester.factors | dict(pool_scales=[(1,), (1, 2, 3, 6), (2, 5)])

    def test_a_single_image_trains_by_running_statistics(self):
        stock, ours = self.pair()
        inputs = self.inputs(batch=1)
        with pytest.raises(ValueError, match='value per channel'):
            stock.train()(inputs)
        norms = [level[1].norm for level in ours.psp_modules]
        before = [norm.running_mean.clone() for norm in norms]
        ours.train()(inputs).square().sum().backward()
        changed = [not torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True)]
        assert changed == [False, True, True, True]
        assert_gradients(ours.psp_modules, at_least=12)


class TracedHeadTester(_FastHead):
    """Base of the integration tests of a fast head: one graph for any size."""

    layout = torch.contiguous_format

    @pytest.mark.skipif(digit_version('2.2') > TORCH, reason='graphs of torch 2.1 break at layouts')
    def test_compiles_without_breaks_at_dynamic_sizes(self, monkeypatch):
        """The graph is captured whole, and again only where the other computation is cheaper."""
        if self.always_at_bins:
            monkeypatch.setattr(tap_products, 'MIN_COLUMNS_TO_COPY_WEIGHT', 0)
        layout = self.layout
        head = self.pair()[1].eval().to(memory_format=layout)
        graphs = []

        def backend(graph, _):
            graphs.append(graph)
            return graph.forward

        torch._dynamo.reset()
        compiled = torch.compile(head, fullgraph=True, dynamic=True, backend=backend)
        for size in ((13, 20), (31, 45), (26, 17)):
            inputs = [x.contiguous(memory_format=layout) for x in self.inputs(size)]
            torch.testing.assert_close(compiled(inputs), head(inputs), rtol=1e-4, atol=1e-4)
        assert 1 <= len(graphs) <= (1 if self.always_at_bins else 2)

    @pytest.mark.skipif(digit_version('2.7') > TORCH, reason='dynamic sizes came with torch 2.7')
    @pytest.mark.parametrize(
        ('axes', 'sizes'),
        [((0,), [(32, 48)]), ((0, 2, 3), [(32, 48), (80, 112)])],
        ids=['batch', 'batch and size'],
    )
    def test_an_export_takes_any_batch_and_size(self, axes, sizes):
        head, inputs = self.pair()[1].eval(), self.inputs((32, 48))
        shapes = ([dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for _ in inputs],)
        graph = torch.export.export(head, (inputs,), dynamic_shapes=shapes, strict=False).module()
        for size in sizes:
            inputs = self.inputs(size, batch=40)
            torch.testing.assert_close(graph(inputs), head(inputs), rtol=1e-4, atol=1e-4)
