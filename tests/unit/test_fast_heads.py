"""Each fast head against its stock counterpart. A further one is a class of three lines.

``config`` is that of the stock head; ours is registered as ``Fast`` and its type. A head with a
pyramid of bins inherits ``FastPyramidHeadTester``, any other ``FastHeadTester``.
"""

import pytest
import torch
from helpers.heads import BN, FastPyramidHeadTester, randomise
from mmengine.config import Config
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.registry import MODELS

from pspnet_plugin.engine import find_stock_tool


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
