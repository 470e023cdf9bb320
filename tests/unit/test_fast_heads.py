"""Each fast head against its stock counterpart. A further one is a class of three lines."""

import pytest
from helpers.heads import FastPyramidHeadTester


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
