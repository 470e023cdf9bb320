"""Each fast head against its stock counterpart. A further one is a class of three lines.

``config`` is that of the stock head; ours is registered as ``Fast`` and its type. A head with a
pyramid of bins inherits ``FastPyramidHeadTester``, any other ``FastHeadTester``.
"""

import pytest
import torch
from helpers.heads import BN, FastHeadTester, FastPyramidHeadTester, LightHam, randomise
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.registry import MODELS

from pspnet_plugin.engine import find_stock_tool
from pspnet_plugin.models.layers import fuse_concat

# SegformerHead and LightHamHead hold ReLUs that act_cfg does not replace, and the bases of
# LightHamHead magnify rounding.
IN_FLOAT64 = FastHeadTester.factors | dict(dtype=[torch.float64])


class TestFastPSPHead(FastPyramidHeadTester):
    config = dict(type='PSPHead', in_channels=12, in_index=0)


class TestFastPSPHeadOverSeveralFeatureMaps(FastPyramidHeadTester):
    config = dict(
        type='PSPHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat'
    )

    @pytest.mark.parametrize('align_corners', [False, True])
    def test_others_may_be_larger_than_the_first(self, align_corners):
        change = dict(in_index=[1, 0, 2], in_channels=[6, 8, 8])
        self.assert_parity((13, 20), align_corners=align_corners, **change)


class TestFastUPerHead(FastPyramidHeadTester):
    config = dict(type='UPerHead', in_channels=[6, 8, 12], in_index=[0, 1, 2])


class TestFastSegformerHead(FastHeadTester):
    config = dict(type='SegformerHead', in_channels=[6, 8, 12], in_index=[0, 1, 2])
    fused = 'fusion_conv'
    factors = IN_FLOAT64

    def test_another_interpolation_matches_stock(self):
        self.assert_parity((13, 20), interpolate_mode='bicubic')


class TestFastFCNHead(FastHeadTester):
    config = dict(
        type='FCNHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat',
        kernel_size=1, num_convs=1, concat_input=False,
    )  # fmt: skip
    fused = 'convs.0'

    @pytest.mark.parametrize(
        'change',
        [
            dict(concat_input=True),
            dict(concat_input=True, kernel_size=3, num_convs=2),
            dict(concat_input=True, kernel_size=3, dilation=2),
            dict(concat_input=True, num_convs=0, channels=22),
            dict(kernel_size=2),
        ],
        ids=['1x1', '3x3', 'dilated', 'none', 'even'],
    )
    @pytest.mark.parametrize('align_corners', [False, True])
    def test_other_convolutions_match_stock(self, change, align_corners):
        self.assert_parity((13, 20), align_corners=align_corners, **change)

    def test_a_single_feature_map_runs_as_in_stock(self):
        stock, ours = self.pair(in_channels=6, in_index=0, input_transform=None)
        inputs = self.inputs()
        torch.testing.assert_close(ours(inputs), stock(inputs), rtol=0, atol=0)


class TestFastLightHamHead(LightHam, FastHeadTester):
    fused = 'squeeze'
    factors = IN_FLOAT64


@pytest.mark.parametrize(
    'change',
    [
        dict(dilation=2, padding=2),
        dict(stride=2),
        dict(groups=2),
        dict(kernel_size=2),
        dict(kernel_size=(3, 1)),
        dict(padding=0),
        dict(padding_mode='reflect'),
        dict(conv_cfg=dict(type='Conv2d', padding_mode='circular')),
    ],
    ids=str,
)
def test_convolutions_that_do_not_fit_are_left_to_stock(change):
    plain = dict(in_channels=8, out_channels=4, kernel_size=3, padding=1)
    assert fuse_concat(ConvModule(**plain), align_corners=False)
    module = ConvModule(**(plain | change))
    conv = module.conv
    assert not fuse_concat(module, align_corners=False)
    assert module.conv is conv


def test_stock_pspnet_checkpoint_predicts_the_same(tmp_path):
    """A checkpoint that mmseg saved, with nothing changed in the config but the head's type."""
    configs = find_stock_tool('train.py').parents[1] / 'configs'
    config = Config.fromfile(configs / 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py').model
    config.pretrained = None
    for part in (config.backbone, config.decode_head, config.auxiliary_head):
        part.norm_cfg = BN
    torch.manual_seed(0)
    stock = randomise(MODELS.build(config)).eval()
    save_checkpoint(dict(state_dict=stock.state_dict()), str(tmp_path / 'stock.pth'))
    config.decode_head.type = 'FastPSPHead'
    ours = MODELS.build(config).eval()
    load_checkpoint(ours, str(tmp_path / 'stock.pth'), strict=True)
    image = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        expected, got = (model(image).softmax(1) for model in (stock, ours))
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
