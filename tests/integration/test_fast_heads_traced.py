"""Fast heads compiled and exported; tests/slow has the other combinations."""

from helpers.heads import TracedHeadTester


class TestFastPSPHead(TracedHeadTester):
    config = dict(
        type='PSPHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat'
    )
    always_at_bins = False
