"""The fast heads against their stock counterparts: outputs, gradients, arguments."""

import pytest
import torch
from helpers.heads import (
    BN,
    CONFIGS,
    JOINED,
    assert_alike,
    maps,
)
from helpers.heads import cost as cost  # for each test, unasked
from mmseg.registry import MODELS


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
