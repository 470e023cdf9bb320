"""How the framework's own tools are started: found, given our configs, and distributed."""

from pspnet_plugin.engine.cpu_distributed import init_cpu_group
from pspnet_plugin.engine.stock_tools import find_stock_tool, run_stock_tool

__all__ = ['find_stock_tool', 'init_cpu_group', 'run_stock_tool']
