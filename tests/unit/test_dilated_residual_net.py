"""The backbone family, and the article's member of it."""

import re
from unittest.mock import Mock

import pytest
import torch
from helpers.heads import assert_gradients, randomise
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from torch import nn

from pspnet_plugin.models import DilatedResidualNet, WindowPSPHead
from pspnet_plugin.models.backbones import staged

SMALL = dict(widths=((4, 4, 8), (8, 8, 16), (8, 8, 12)), blocks=(1, 2, 1), strides=(2, 2, 1),
             dilations=(1, 2, 4))  # fmt: skip
GN = dict(type='GN', num_groups=2)


def test_defaults_are_the_article_s_network():
    """713,839 in Keras, of which 12 are the batch norm behind its last convolution."""
    modules = nn.ModuleList([DilatedResidualNet(), WindowPSPHead(256, num_classes=3)])
    state = modules.state_dict()  # with moving statistics, as Keras counts
    counts = [t.numel() for name, t in state.items() if not name.endswith('num_batches_tracked')]
    assert sum(counts) == 713_839 - 12


def test_channels_last_changes_the_layout_alone():
    x = torch.randn(2, 3, 32, 48)
    plain, last = (DilatedResidualNet(**SMALL, channels_last=on).eval() for on in (False, True))
    last.load_state_dict(plain.state_dict())
    for one, other in zip(plain(x), last(x), strict=True):
        assert one.is_contiguous() and not other.is_contiguous()
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other)


def test_block_is_the_article_s_formula():
    net = DilatedResidualNet(widths=((3, 5, 7),), blocks=(1,), strides=(1,), dilations=(2,),
                             out_indices=(0,)).eval()  # fmt: skip
    block = randomise(net).stages[0][0]
    x = torch.randn(2, 3, 9, 11)

    def conv(module, x, **kwargs):
        conv, norm = module.conv, module.bn
        x = nn.functional.conv2d(x, conv.weight, conv.bias, **kwargs)
        std = (norm.running_var + 1e-3).sqrt()
        x = (x.movedim(1, -1) - norm.running_mean) / std * norm.weight + norm.bias
        return x.movedim(-1, 1)

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
    expected = (block.conv3(block.conv2(block.conv1(x))) + x).relu()
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(block(x), expected, msg='the input, which others use, was changed')


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
    [(dict(type='BN'), False), (dict(type='SyncBN'), True), (GN, False)],
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
    checkpoint = Mock(wraps=staged.checkpoint)
    monkeypatch.setattr(staged, 'checkpoint', checkpoint)
    x, grads = torch.randn(2, 3, 32, 32), []
    for with_cp in (False, True):
        torch.manual_seed(0)
        net = DilatedResidualNet(**SMALL, norm_cfg=GN, with_cp=with_cp)
        sum(out.square().sum() for out in net(x)).backward()
        grads.append([p.grad for p in net.parameters()])
        assert checkpoint.call_count == 4 * with_cp, 'every block, the first too'
    with torch.no_grad():
        net(x)
    assert checkpoint.call_count == 4
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ('frozen', 'norm_eval'), [(-1, False), (-1, True), (0, False), (1, True), (3, False)]
)
def test_frozen_stages_and_statistics_under_norm_eval_stay(frozen, norm_eval):
    net = DilatedResidualNet(**SMALL, frozen_stages=frozen, norm_eval=norm_eval).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    outs = net(torch.randn(2, 3, 32, 32))
    if frozen < 3:
        outs[-1].square().sum().backward()
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1).step()
    for name, tensor in net.state_dict().items():
        if name.endswith(('conv.weight', 'running_mean')):
            stays = int(name.split('.')[1]) < frozen or (norm_eval and name.endswith('mean'))
            assert torch.equal(tensor, before[name]) == stays, name


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
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'net.pth'))
    net = MODELS.build(dict(type='DilatedResidualNet', **SMALL, init_cfg=init))
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
    with pytest.raises(ValueError, match=re.escape(carried)):
        DilatedResidualNet(**{**SMALL, **change})
