"""Decode heads.

To add one, register its class in ``mmseg.registry.MODELS`` in a module here, and import it below
and in ``models``. Its test is a class in ``tests/unit/test_fast_heads.py`` or a file of its own;
``PYTHONPATH=tests python -m helpers.surface`` writes down its name.
"""

from pspnet_plugin.models.decode_heads.color_psp_head import ColorPSPHead
from pspnet_plugin.models.decode_heads.psp_head import FastPSPHead
from pspnet_plugin.models.decode_heads.uper_head import FastUPerHead
from pspnet_plugin.models.decode_heads.window_psp_head import WindowPSPHead

__all__ = ['ColorPSPHead', 'FastPSPHead', 'FastUPerHead', 'WindowPSPHead']
