"""What runs left behind, read and put into tables."""

from pspnet_plugin.reporting.collected import CollectedRun, collect, kept_path, load_runs
from pspnet_plugin.reporting.logs import read_scalars

__all__ = ['CollectedRun', 'collect', 'kept_path', 'load_runs', 'read_scalars']
