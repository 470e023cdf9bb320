"""The backbone family, and the article's member of it."""

import pytest
import torch
from helpers.heads import assert_gradients, randomise
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from torch import nn

from pspnet_plugin.models import DilatedResidualNet, WindowPSPHead
from pspnet_plugin.models.backbones import dilated_residual_net

SMALL = dict(
    widths=((4, 4, 8), (8, 8, 16), (8, 8, 12)),
    blocks=(1, 2, 1),
    strides=(2, 2, 1),
    dilations=(1, 2, 4),
)


def count(*modules):
    """Parameters, moving statistics included, as Keras counts them."""
    return sum(
        t.numel()
        for module in modules
        for name, t in module.state_dict().items()
        if not name.endswith('num_batches_tracked')
    )


def test_defaults_are_the_article_s_network():
    """713,839 in Keras, of which 12 are the batch norm behind its last convolution."""
    head = WindowPSPHead(256, num_classes=3)
    assert count(DilatedResidualNet(), head) == 713_839 - 12


def test_channels_last_changes_the_layout_alone():
    x = torch.randn(2, 3, 32, 48)
    plain = DilatedResidualNet(**SMALL, out_indices=(0, 2)).eval()
    last = DilatedResidualNet(**SMALL, out_indices=(0, 2), channels_last=True).eval()
    last.load_state_dict(plain.state_dict())
    for one, other in zip(plain(x), last(x), strict=True):
        assert one.is_contiguous() and other.is_contiguous(memory_format=torch.channels_last)
        assert not other.is_contiguous()
        torch.testing.assert_close(one, other)


def test_block_is_the_article_s_formula():
    net = DilatedResidualNet(widths=((3, 5, 7),), blocks=(1,), strides=(1,), dilations=(2,),
                             out_indices=(0,)).eval()  # fmt: skip
    block = randomise(net).stages[0][0]
    x = torch.randn(2, 3, 9, 11)

    def conv(module, x, **kwargs):
        conv, norm = module.conv, module.bn
        x = nn.functional.conv2d(x, conv.weight, conv.bias, **kwargs)
        mean, std, weight, bias = (
            t[:, None, None]
            for t in (norm.running_mean, (norm.running_var + 1e-3).sqrt(), norm.weight, norm.bias)
        )
        return (x - mean) / std * weight + bias

    out = nn.functional.leaky_relu(conv(block.conv1, x), 0.2)
    out = nn.functional.leaky_relu(conv(block.conv2, out, padding=2, dilation=2), 0.2)
    out = conv(block.conv3, out) + conv(block.shortcut, x, padding=1)
    expected = out.relu()
    assert expected.std() > 0.1
    torch.testing.assert_close(net(x)[0], expected)


def test_identity_shortcuts_are_those_of_the_following_blocks():
    net = DilatedResidualNet(**SMALL, identity_shortcuts=True).eval()
    convs = [isinstance(block.shortcut, nn.Identity) for stage in net.stages for block in stage]
    assert convs == [False, False, True, False], 'the first block of a stage changes the shape'
    block = net.stages[1][1]
    x = torch.randn(2, 16, 9, 7)
    kept = x.clone()
    expected = (block.conv3(block.conv2(block.conv1(x))) + x).relu()
    torch.testing.assert_close(block(x), expected)
    assert torch.equal(x, kept), 'the input belongs to others too'


@pytest.mark.parametrize(
    ('size', 'out_indices'), [((32, 32), (0, 1, 2)), ((33, 47), (2, 0)), ((8, 5), (2,))], ids=str
)
def test_feature_maps_have_the_sizes_of_their_strides(size, out_indices):
    net = DilatedResidualNet(**SMALL, out_indices=out_indices)
    outs = net(torch.randn(2, 3, *size))
    half = [-(-s // 2) for s in size]
    quarter = [-(-s // 2) for s in half]
    shapes = [(2, 8, *half), (2, 16, *quarter), (2, 12, *quarter)]
    assert [tuple(out.shape) for out in outs] == [shapes[i] for i in out_indices]


@pytest.mark.parametrize(
    ('norm_cfg', 'with_cp'),
    [
        (dict(type='BN'), False),
        (dict(type='SyncBN'), True),
        (dict(type='GN', num_groups=2), False),
    ],
    ids=['BN', 'SyncBN, checkpoints', 'GN'],
)
def test_gradients_reach_every_parameter(norm_cfg, with_cp):
    # A bias before a batch norm has no gradient: the norm subtracts the mean.
    bias = norm_cfg['type'] == 'GN'
    net = DilatedResidualNet(**SMALL, bias=bias, norm_cfg=norm_cfg, with_cp=with_cp)
    net = revert_sync_batchnorm(net)
    net.init_weights()
    outs = net.train()(torch.randn(2, 3, 32, 32))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert_gradients(net, at_least=48)


def test_checkpointing_changes_nothing_but_memory(monkeypatch):
    calls = []
    real = dilated_residual_net.checkpoint
    monkeypatch.setattr(
        dilated_residual_net, 'checkpoint', lambda *a, **k: calls.append(a) or real(*a, **k)
    )
    torch.manual_seed(0)
    plain = DilatedResidualNet(**SMALL, norm_cfg=dict(type='GN', num_groups=2))
    cp = DilatedResidualNet(**SMALL, norm_cfg=dict(type='GN', num_groups=2), with_cp=True)
    cp.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    grads = []
    for net in (plain, cp):
        sum(out.square().sum() for out in net(x)).backward()
        grads.append([p.grad for p in net.parameters()])
        assert len(calls) == (4 if net is cp else 0), 'every block, the first too'
    with torch.no_grad():
        cp(x)
    assert len(calls) == 4
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('frozen', [-1, 0, 1, 3])
def test_frozen_stages_stay(frozen):
    net = DilatedResidualNet(**SMALL, frozen_stages=frozen)
    net.init_weights()
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    outs = net(torch.randn(2, 3, 32, 32))
    if frozen < 3:
        outs[-1].square().sum().backward()
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1).step()
    for name, tensor in net.state_dict().items():
        stage = int(name.split('.')[1])
        if name.endswith(('conv.weight', 'running_mean')):
            assert torch.equal(tensor, before[name]) == (stage < frozen), name


def test_norm_eval_keeps_statistics():
    net = DilatedResidualNet(**SMALL, norm_eval=True).train()
    norm = net.stages[0][0].conv1.bn
    before = norm.running_mean.clone()
    net(torch.randn(2, 3, 32, 32))
    assert torch.equal(norm.running_mean, before) and norm.weight.requires_grad


def test_he_initialisation_by_default():
    net = DilatedResidualNet(widths=((256, 64, 8),), blocks=(1,), strides=(1,), dilations=(1,),
                             out_indices=(0,))  # fmt: skip
    expected = pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.05)  # by fan in, not fan out
    weight = net.stages[0][0].conv2.conv.weight
    assert weight.std().item() != expected
    net.init_weights()
    assert weight.std().item() == expected


def test_pretrained_loads(tmp_path):
    source = DilatedResidualNet(**SMALL)
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'net.pth'))
    net = MODELS.build(
        dict(type='DilatedResidualNet', **SMALL,
             init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'net.pth')))
    )  # fmt: skip
    net.init_weights()
    torch.testing.assert_close(net.state_dict(), source.state_dict())


@pytest.mark.parametrize(
    ('change', 'carried'),
    [
        (dict(blocks=(1, 1)), '3 widths, 2 blocks'),
        (dict(widths=((4, 4), (4, 4, 4), (4, 4, 4))), '(4, 4)'),
        (dict(strides=2), 'strides=2'),
        (dict(widths=(4, 4, 8)), 'widths=(4, 4, 8)'),
        (dict(widths=((4, 4, 0),) * 3), '(4, 4, 0)'),
        (dict(strides=(0, 1, 1)), 'strides=(0, 1, 1)'),
        (dict(out_indices=(3,)), 'out_indices=(3,)'),
        (dict(out_indices=()), 'out_indices=()'),
        (dict(frozen_stages=4), 'frozen_stages=4'),
    ],
    ids=str,
)
def test_bad_arguments_are_named(change, carried):
    with pytest.raises(ValueError) as error:
        DilatedResidualNet(**{**SMALL, **change})
    assert carried in str(error.value)
