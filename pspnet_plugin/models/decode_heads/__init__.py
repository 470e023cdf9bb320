"""Decode heads.

To add one, register its class in ``mmseg.registry.MODELS`` in a module here, import it below and
in ``models``, and add it to ``__all__`` in both. Let ``PYTHONPATH=tests python -m helpers.surface``
write its name into ``tests/helpers/surface.json``, and give it a line in the changelog. The test of
a drop-in ``FastX`` for stock ``X`` is a class in ``tests/unit/test_fast_heads.py``, of any other a
file ``tests/unit/test_NAME_head.py``.
"""

from pspnet_plugin.models.decode_heads.color_psp_head import ColorPSPHead
from pspnet_plugin.models.decode_heads.fcn_head import FastFCNHead
from pspnet_plugin.models.decode_heads.ham_head import FastLightHamHead
from pspnet_plugin.models.decode_heads.psp_head import FastPSPHead
from pspnet_plugin.models.decode_heads.segformer_head import FastSegformerHead
from pspnet_plugin.models.decode_heads.uper_head import FastUPerHead
from pspnet_plugin.models.decode_heads.window_psp_head import WindowPSPHead

__all__ = [
    'ColorPSPHead', 'FastFCNHead', 'FastLightHamHead', 'FastPSPHead', 'FastSegformerHead',
    'FastUPerHead', 'WindowPSPHead',
]  # fmt: skip
