"""Training that survives faults, and the framework's own tools.

Importing this registers loops, hooks and optimizers, and guards the loading of checkpoints.
"""

from pspnet_plugin.engine.checkpoint_loading import UnsafeCheckpoint, guard_loaders
from pspnet_plugin.engine.hooks.bad_pairs_hook import BadPairsHook
from pspnet_plugin.engine.hooks.checkpoint_hook import WholeCheckpointHook
from pspnet_plugin.engine.hooks.non_finite_loss_hook import NonFiniteLossHook
from pspnet_plugin.engine.hooks.run_record_hook import RunRecordHook
from pspnet_plugin.engine.loops.clock_loop import ClockTrainLoop
from pspnet_plugin.engine.loops.resumable_loop import ResumableTrainLoop
from pspnet_plugin.engine.optimizers.autocast_wrapper import AutocastOptimWrapper
from pspnet_plugin.engine.optimizers.conv_muon import ConvMuon
from pspnet_plugin.engine.pretrained import find_weights
from pspnet_plugin.engine.stock_tools import find_stock_tool, run_stock_tool
from pspnet_plugin.engine.zoo import find_network, trained_networks

guard_loaders()

__all__ = [
    'AutocastOptimWrapper', 'BadPairsHook', 'ClockTrainLoop', 'ConvMuon', 'NonFiniteLossHook',
    'ResumableTrainLoop', 'RunRecordHook', 'UnsafeCheckpoint', 'WholeCheckpointHook',
    'find_network', 'find_stock_tool', 'find_weights', 'run_stock_tool', 'trained_networks',
]  # fmt: skip
