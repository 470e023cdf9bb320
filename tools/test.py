"""Test a checkpoint by the installed mmseg's own tools/test.py; all its options apply."""

from pathlib import Path

from pspnet_plugin.engine import run_stock_tool

if __name__ == '__main__':
    run_stock_tool('test.py', root=Path(__file__).resolve().parents[1])
