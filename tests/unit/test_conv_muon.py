"""The optimizer beside torch's implementations of its two halves."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from pspnet_plugin.engine import ConvMuon
from pspnet_plugin.engine.optimizers.conv_muon import orthogonalized


def small_net() -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize('shape', [(8, 8), (16, 144), (144, 16), (1, 9), (48, 5)], ids=str)
def test_singular_values_become_about_one_and_directions_stay(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -1.5, shape[1]))
    u, before, v = torch.linalg.svd(matrix, full_matrices=False)
    assert shape[0] == 1 or before.max() / before.min() > 3
    result = orthogonalized(matrix)
    after = torch.linalg.svdvals(result)
    assert after.min() > 0.6 and after.max() < 1.3
    assert torch.cosine_similarity(result.flatten(), (u @ v).flatten(), 0) > 0.95


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='torch has Muon from 2.9 on')
def test_filters_step_as_the_matrices_of_torch_s_muon():
    torch.manual_seed(0)
    filters = nn.Parameter(torch.randn(6, 5, 3, 3))
    matrix = nn.Parameter(filters.detach().reshape(6, 45).clone())
    ours = ConvMuon([filters], lr=0.1, weight_decay=0.3)
    theirs = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.3, adjust_lr_fn='match_rms_adamw')
    start = matrix.detach().clone()
    for _ in range(5):
        gradient = torch.randn(6, 5, 3, 3)
        filters.grad, matrix.grad = gradient, gradient.reshape(6, 45)
        ours.step()
        theirs.step()
    moved = (matrix - start).norm()
    assert (filters.reshape(6, 45) - matrix).norm() < 0.05 * moved, 'torch iterates in bfloat16'


def test_depthwise_filters_step_by_rule():
    """One by one, with updates of one length; as a matrix; or by AdamW, as vectors."""
    moved = {}
    for rule in ('filters', 'matrix', 'adamw'):
        torch.manual_seed(0)
        filters = nn.Parameter(torch.zeros(20, 1, 3, 3))
        optimizer = ConvMuon([filters], lr=0.1, weight_decay=0.0, depthwise=rule)
        filters.grad = torch.randn(20, 1, 3, 3) * torch.rand(20, 1, 1, 1)
        optimizer.step()
        moved[rule] = filters.detach().reshape(20, 9)
        gradient = filters.grad.reshape(20, 9)
    one_by_one = -gradient / gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved['filters'], 0.1 * 0.2 * 3 * one_by_one)
    torch.testing.assert_close(moved['adamw'], -0.1 * 0.2 * gradient.sign(), rtol=1e-3, atol=1e-6)
    values = torch.linalg.svdvals(moved['matrix'])
    assert values.max() < 1.3 / 0.6 * values.min()


def test_a_depthwise_filter_without_gradient_stays():
    filters = nn.Parameter(torch.ones(2, 1, 3, 3))
    optimizer = ConvMuon([filters], lr=0.1, weight_decay=0.0, depthwise='filters')
    filters.grad = torch.stack([torch.zeros(1, 3, 3), torch.ones(1, 3, 3)])
    optimizer.step()
    assert (filters[0] == 1).all() and (filters[1] < 1).all()


def test_the_rule_of_depthwise_filters_is_kept():
    filters = nn.Parameter(torch.zeros(20, 1, 3, 3))
    optimizer = ConvMuon([filters], depthwise='adamw')
    filters.grad = torch.randn(20, 1, 3, 3)
    optimizer.step()
    other = copy.deepcopy(optimizer)
    other.step()
    assert other.param_groups[0]['depthwise'] == 'adamw'
    state = ConvMuon([filters]).state_dict()
    del state['param_groups'][0]['depthwise']
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]['depthwise'] == 'matrix', 'as before the option'


def test_vectors_step_as_by_torch_s_adamw():
    torch.manual_seed(0)
    own, other = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    ours = ConvMuon([own], lr=0.05, vector_lr=0.2, weight_decay=0.1, betas=(0.8, 0.9))
    theirs = torch.optim.AdamW([other], lr=0.01, weight_decay=0.1, betas=(0.8, 0.9))
    for _ in range(4):
        own.grad = other.grad = torch.randn(7)
        ours.step()
        theirs.step()
    assert (own - 1).abs().min() > 0.001
    torch.testing.assert_close(own, other)


def test_loaded_state_resumes_bit_for_bit():
    def train(net, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            net(torch.randn(2, 3, 8, 8)).square().mean().backward()
            optimizer.step()

    net = small_net()
    optimizer = ConvMuon(net.parameters())
    train(net, optimizer, range(3))
    again = copy.deepcopy(net)
    resumed = ConvMuon(again.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(net, optimizer, range(3, 6))
    train(again, resumed, range(3, 6))
    for (name, one), two in zip(net.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two), name


def test_network_learns_with_options_by_parameter():
    net = small_net()
    optimizer = dict(type='ConvMuon', lr=0.1, weight_decay=0.01)
    config = dict(type='OptimWrapper', optimizer=optimizer, paramwise_cfg=dict(norm_decay_mult=0.0))
    wrapper = build_optim_wrapper(net, config)
    assert {group['weight_decay'] for group in wrapper.optimizer.param_groups} == {0.0, 0.01}
    x = torch.randn(4, 3, 16, 16)
    losses = []
    for _ in range(30):
        losses.append(nn.functional.cross_entropy(net(x), (x.mean(1) > 0).long()))
        wrapper.update_params(losses[-1])
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    'wrong',
    [dict(lr=-1.0), dict(momentum=1.0), dict(betas=(0.9, 2)), dict(vector_lr=float('nan')),
     dict(depthwise='rows')],
)  # fmt: skip
def test_numbers_out_of_range_are_named(wrong):
    name = 'beta2' if 'betas' in wrong else next(iter(wrong))
    with pytest.raises(ValueError, match=f'ConvMuon: {name}='):
        ConvMuon([nn.Parameter(torch.ones(2))], **wrong)


def test_compiled_training_step_moves_the_weights_alike():
    """As the framework compiles it: forward, backward and the optimizer in one."""

    def train(compiled: bool) -> list[torch.Tensor]:
        net = small_net()
        config = dict(type='OptimWrapper', optimizer=dict(type='ConvMuon', lr=0.1))
        wrapper = build_optim_wrapper(net, config)

        def step(x):
            wrapper.update_params(net(x).square().mean())

        step = torch.compile(step, backend='eager') if compiled else step
        for _ in range(2):
            step(torch.randn(2, 3, 8, 8))
        return [p.detach() for p in net.parameters()]

    for one, two in zip(train(True), train(False), strict=True):
        torch.testing.assert_close(one, two)
