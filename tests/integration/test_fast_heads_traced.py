"""Fast heads compiled and exported; tests/slow has the other combinations."""

from helpers.heads import LightHam, TracedHeadTester


class TestFastPSPHead(TracedHeadTester):
    config = dict(
        type='PSPHead', in_channels=[6, 8, 8], in_index=[0, 2, 1], input_transform='resize_concat'
    )
    always_at_bins = False


class TestFastSegformerHead(TracedHeadTester):
    config = dict(type='SegformerHead', in_channels=[6, 8, 12], in_index=[0, 1, 2])


class TestFastFCNHead(TracedHeadTester):
    config = dict(
        type='FCNHead', in_channels=[6, 8, 12], in_index=[0, 1, 2], input_transform='resize_concat',
        kernel_size=1, num_convs=1,
    )  # fmt: skip


class TestFastLightHamHead(LightHam, TracedHeadTester):
    pass
