"""Generated street scenes: photos with exact labels, and the pairs that they make.

``street`` plans a street and draws it far to near on a ``canvas``; its parts come from
``roadside``, ``street_objects`` and ``vehicles``. ``pair_directory`` writes pairs of them.
"""

from pspnet_plugin.toolkit.synthetic.street import GENERATOR_VERSION, render_pair, street_scene

__all__ = ['GENERATOR_VERSION', 'render_pair', 'street_scene']
