"""Pyramid heads: parity with stock, any size, the article's formula."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.models.decode_heads import PSPHead
from mmseg.registry import MODELS
from torch import nn

from pspnet_plugin.models import FastPSPHead, WindowPSPHead

ARGUMENTS = dict(in_channels=12, channels=8, num_classes=5, in_index=0, norm_cfg=dict(type='BN'))


def randomise(module):
    """Norms that are no identity: an identity hides a misplaced one."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(m.running_var, 0.5, 2)
        elif isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.3)
    return module


@pytest.mark.parametrize('size', [(12, 12), (33, 65), (7, 5), (1, 1)], ids=str)
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('pool_scales', [(1, 2, 3, 6), (4,)], ids=str)
def test_odd_maps_match_stock_head(tmp_path, size, align_corners, pool_scales):
    kwargs = dict(ARGUMENTS, align_corners=align_corners, pool_scales=pool_scales)
    stock = randomise(PSPHead(**kwargs)).eval()
    save_checkpoint(dict(state_dict=stock.state_dict()), str(tmp_path / 'stock.pth'))
    ours = MODELS.build(dict(type='FastPSPHead', **kwargs)).eval()
    load_checkpoint(ours, str(tmp_path / 'stock.pth'), strict=True)
    x = [torch.randn(2, 12, *size)]
    expected = stock(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)


def test_whole_stock_pspnet_checkpoint_predicts_the_same(tmp_path):
    """A checkpoint that mmseg saved, by its name for the type alone."""
    from mmengine.config import Config

    from pspnet_plugin.engine import find_stock_tool

    configs = find_stock_tool('train.py').parents[1] / 'configs'
    config = Config.fromfile(configs / 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py').model
    config.pretrained = None
    for part in (config.backbone, config.decode_head, config.auxiliary_head):
        part.norm_cfg = dict(type='BN')
    torch.manual_seed(0)
    stock = randomise(MODELS.build(config)).eval()
    save_checkpoint(dict(state_dict=stock.state_dict()), str(tmp_path / 'stock.pth'))
    config.decode_head.type = 'FastPSPHead'
    ours = MODELS.build(config).eval()
    load_checkpoint(ours, str(tmp_path / 'stock.pth'), strict=True)
    picture = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        expected, got = (model(picture).softmax(1) for model in (stock, ours))
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_window_head_is_the_article_s_formula():
    torch.manual_seed(0)
    head = randomise(WindowPSPHead(16, num_classes=3, in_index=0)).eval()
    x = torch.randn(2, 16, 16, 24)
    maps = [x]
    for window, level in zip((None, 2, 4, 8), head.levels, strict=True):
        pooled = x.mean((2, 3), keepdim=True) if window is None else F.avg_pool2d(x, window, window)
        pooled = F.conv2d(pooled, level.conv.weight, level.conv.bias)
        maps.append(F.interpolate(pooled, (16, 24), mode='bilinear', align_corners=False))
    assert [m.shape[1] for m in maps] == [16, 4, 4, 4, 4]
    expected = F.conv2d(torch.cat(maps, 1), head.conv_seg.weight, head.conv_seg.bias, padding=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(head([x]), expected)


@pytest.mark.parametrize('size', [(8, 8), (9, 23), (31, 17)], ids=str)
def test_windows_stay_aligned_at_any_size(size):
    """A crop's interior pools and upsamples as the whole does: no window is stretched."""
    head = randomise(WindowPSPHead(8, num_classes=3, in_index=0, windows=(2, 4))).eval()
    x = torch.randn(1, 8, 64, 64)
    whole, part = head([x]), head([x[..., : size[0], : size[1]]])
    assert part.shape == (1, 3, *size)
    # The last window may be cut, and interpolation and the 3x3 convolution look one farther.
    inner = [s // 4 * 4 - 4 for s in size]
    assert min(inner) > 0
    torch.testing.assert_close(
        part[..., : inner[0], : inner[1]], whole[..., : inner[0], : inner[1]]
    )


@pytest.mark.parametrize(
    ('channels', 'windows', 'level'),
    [(None, ('global', 2, 4, 8), 4), (None, (3, 5, 7), 5), (8, ('global',), 8), (20, (6, 8), 10)],
    ids=str,
)
def test_any_windows_share_the_maps(channels, windows, level):
    head = WindowPSPHead(16, channels, num_classes=3, in_index=0, windows=windows)
    assert [m.conv.out_channels for m in head.levels] == [level] * len(windows)
    assert head.conv_seg.in_channels == 16 + level * len(windows)


@pytest.mark.parametrize('type_', ['FastPSPHead', 'WindowPSPHead'])
def test_gradients_reach_every_parameter(type_):
    head = MODELS.build(dict(ARGUMENTS, type=type_, channels=12, norm_cfg=None))
    x = torch.randn(2, 12, 16, 16, requires_grad=True)
    out = head([x])
    (out * torch.randn_like(out)).sum().backward()
    assert len(list(head.parameters())) >= 10
    for name, parameter in [*head.named_parameters(), ('input', x)]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, f'none for {name}'


def test_window_head_joins_maps_of_several_sizes():
    head = WindowPSPHead(
        (4, 12), num_classes=3, in_index=(0, 1), input_transform='resize_concat', windows=(2, 4)
    )
    assert head([torch.randn(2, 4, 16, 16), torch.randn(2, 12, 8, 8)]).shape == (2, 3, 16, 16)
    assert [level.conv.out_channels for level in head.levels] == [8, 8]


def test_window_head_trains_with_one_picture():
    head = WindowPSPHead(16, num_classes=3, in_index=0).train()
    head([torch.randn(1, 16, 8, 8)]).sum().backward()
    assert head.levels[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(windows=()), r'windows=\(\)'),
        (dict(windows=(2, 0)), 'got 0'),
        (dict(windows='all'), "expected 'global' .* got 'all'"),
        (dict(windows=(2, 'all')), "expected 'global' .* got 'all'"),
        (dict(windows=(2, 4, 8), channels=2), 'share 2 maps'),
        (dict(windows=(2,), bins=(2,)), 'give one of the two'),
        (dict(bins=()), 'at least one level'),
        (dict(bins=(2, 0)), r'bins=\(2, 0\).*got 0'),
        (dict(bins=((1, 2, 3),)), r'got \(1, 2, 3\)'),
        (dict(upsampling='nearest'), "'nearest', expected one of"),
        (dict(bins=(2,), upsampling='deconv'), 'give windows'),
        (dict(input_transform='multiple_select'), "choose None or 'resize_concat'"),
    ],
    ids=[
        'none',
        'zero',
        'alone',
        'name',
        'few maps',
        'both',
        'no bins',
        'no bin',
        'odd bin',
        'upsampling',
        'deconv of bins',
        'several maps',
    ],  # fmt: skip
)
def test_bad_windows_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WindowPSPHead(16, num_classes=3, **kwargs)


def test_windows_larger_than_the_map_are_refused():
    head = WindowPSPHead(4, num_classes=3, in_index=0)
    with pytest.raises(ValueError, match=r'window of 8 pixels does not fit into a map of 16 x 7'):
        head([torch.randn(1, 4, 16, 7)])


def test_fast_head_is_a_psp_head():
    """Stock code asks for the type, e.g. to count FLOPs."""
    assert issubclass(FastPSPHead, PSPHead)


@pytest.mark.parametrize(
    'levels', [dict(), dict(upsampling='deconv'), dict(windows=None, bins=(1, 2))], ids=str
)
def test_dropout_is_of_whole_maps_of_what_is_joined(levels):
    torch.manual_seed(0)
    options = dict(windows=('global', 4), dropout_ratio=0.5) | levels
    head = WindowPSPHead(64, num_classes=3, **options).train()
    x = torch.rand(1, 64, 8, 8) + 1

    def joined():
        taken = head._concat([x])
        return (taken if isinstance(taken, torch.Tensor) else taken.x)[0, :64]

    maps = joined()
    left_out = (maps == 0).all(-1).all(-1)
    assert 16 < left_out.sum() < 48
    torch.testing.assert_close(maps[~left_out], 2 * x[0][~left_out])
    head.eval()
    assert torch.equal(joined(), x[0])
