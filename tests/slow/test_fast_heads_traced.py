"""Fast heads compiled and exported, in the combinations that tests/integration leaves out."""

import torch
from helpers.heads import TracedHeadTester


class TestFastPSPHead(TracedHeadTester):
    config = dict(
        type='PSPHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat'
    )
    layout = torch.channels_last


class TestFastUPerHead(TracedHeadTester):
    config = dict(type='UPerHead', in_channels=[6, 8, 12], in_index=[0, 1, 2])


class TestFastUPerHeadChannelsLast(TracedHeadTester):
    config = TestFastUPerHead.config
    layout = torch.channels_last


class TestFastUPerHeadWherePays(TracedHeadTester):
    config = TestFastUPerHead.config
    always_at_bins = False
