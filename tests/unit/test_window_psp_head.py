"""The article's head: its formula, any size, its arguments."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import BN, assert_gradients, randomise

from pspnet_plugin.models import WindowPSPHead
from pspnet_plugin.models.layers import Parts


def test_window_head_is_the_article_s_formula():
    torch.manual_seed(0)
    head = randomise(WindowPSPHead(16, num_classes=3, in_index=0)).eval()
    x = torch.randn(2, 16, 16, 24)
    parts = [x]
    for window, level in zip((None, 2, 4, 8), head.levels, strict=True):
        pooled = x.mean((2, 3), keepdim=True) if window is None else F.avg_pool2d(x, window, window)
        pooled = F.conv2d(pooled, level.conv.weight, level.conv.bias)
        parts.append(F.interpolate(pooled, (16, 24), mode='bilinear', align_corners=False))
    assert [part.shape[1] for part in parts] == [16, 4, 4, 4, 4]
    expected = F.conv2d(torch.cat(parts, 1), head.conv_seg.weight, head.conv_seg.bias, padding=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(head([x]), expected)


@pytest.mark.parametrize('size', [(8, 8), (9, 23), (31, 17)], ids=str)
def test_windows_stay_aligned_at_any_size(size):
    """The interior of a crop pools and upsamples as the whole does: no window is stretched."""
    head = randomise(WindowPSPHead(8, num_classes=3, in_index=0, windows=(2, 4))).eval()
    x = torch.randn(1, 8, 64, 64)
    whole, part = head([x]), head([x[..., : size[0], : size[1]]])
    assert part.shape == (1, 3, *size)
    # The last window may be cut, and interpolation and the 3x3 convolution look one farther.
    inner = [s // 4 * 4 - 4 for s in size]
    assert min(inner) > 0
    crop = ..., *map(slice, inner)
    torch.testing.assert_close(part[crop], whole[crop])


@pytest.mark.parametrize(
    ('channels', 'windows', 'level'),
    [(None, ('global', 2, 4, 8), 4), (None, (3, 5, 7), 5), (8, ('global',), 8), (20, (6, 8), 10)],
    ids=str,
)
def test_levels_share_the_channels(channels, windows, level):
    head = WindowPSPHead(16, channels, num_classes=3, in_index=0, windows=windows)
    assert [m.conv.out_channels for m in head.levels] == [level] * len(windows)
    assert head.conv_seg.in_channels == 16 + level * len(windows)


@pytest.mark.parametrize('batch', [2, 1])
@pytest.mark.parametrize(
    'levels', [dict(), dict(norm_cfg=BN), dict(upsampling='deconv'), dict(bins=(1, 2))], ids=str
)
def test_gradients_reach_every_parameter(levels, batch):
    head = WindowPSPHead(12, num_classes=5, in_index=0, **levels)
    out = head([torch.randn(batch, 12, 16, 16)])
    (out * torch.randn_like(out)).sum().backward()
    assert_gradients(head, at_least=6)


def test_feature_maps_of_several_sizes_are_concatenated():
    head = WindowPSPHead(
        (4, 12), num_classes=3, in_index=(0, 1), input_transform='resize_concat', windows=(2, 4)
    )
    assert head([torch.randn(2, 4, 16, 16), torch.randn(2, 12, 8, 8)]).shape == (2, 3, 16, 16)
    assert [level.conv.out_channels for level in head.levels] == [8, 8]


@pytest.mark.parametrize(
    ('kwargs', 'carried'),
    [
        (dict(windows=()), ['windows=()']),
        (dict(windows=(2, 0)), ['windows=(2, 0)', 'holds 0']),
        (dict(windows='all'), ["'all'"]),
        (dict(windows=(2, 'all')), ["windows=(2, 'all')", "holds 'all'"]),
        (dict(windows=(2, 4, 8), channels=2), ['channels=2', '3 levels']),
        (dict(windows=(2,), bins=(2,)), ['windows=(2,)', 'bins=(2,)']),
        (dict(bins=()), ['bins=()']),
        (dict(bins=((1, 2, 3),)), ['holds (1, 2, 3)']),
        (dict(upsampling='nearest'), ["upsampling='nearest'", 'bilinear', 'deconv']),
        (dict(bins=(2,), upsampling='deconv'), ['bins=(2,)', "'deconv'"]),
        (dict(input_transform='multiple_select'), ["'multiple_select'", "'resize_concat'"]),
    ],
    ids=str,
)
def test_bad_arguments_are_named(kwargs, carried):
    with pytest.raises(ValueError) as error:
        WindowPSPHead(16, num_classes=3, **kwargs)
    assert all(part in str(error.value) for part in ['WindowPSPHead', *carried])


def test_windows_larger_than_the_feature_map_are_refused():
    head = WindowPSPHead(4, num_classes=3, in_index=0)
    with pytest.raises(ValueError, match='8 x 8.*16 x 7|16 x 7.*8 x 8'):
        head([torch.randn(1, 4, 16, 7)])


@pytest.mark.parametrize(
    'levels', [dict(), dict(upsampling='deconv'), dict(windows=None, bins=(1, 2))], ids=str
)
def test_dropout_drops_whole_channels_of_the_concat(levels):
    torch.manual_seed(0)
    options = dict(windows=('global', 4), dropout_ratio=0.5) | levels
    head = WindowPSPHead(64, num_classes=3, **options).train()
    x = torch.rand(1, 64, 8, 8) + 1
    taken = head._concat([x])
    channels = (taken.x if isinstance(taken, Parts) else taken)[0, :64]
    dropped = (channels == 0).all(-1).all(-1)
    assert 16 < dropped.sum() < 48
    torch.testing.assert_close(channels[~dropped], 2 * x[0][~dropped])
    assert torch.equal(head.eval()([x]), head([x])), 'evaluation drops nothing'
