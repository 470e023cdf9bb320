"""Generated street scenes: photo and exact labels, and the pair that they make.

``street`` plans a street and draws it far to near; what stands in it comes from ``margins``,
``things`` and ``vehicles``; ``canvas`` has the camera and draws photo and labels alike.
"""

from pspnet_plugin.toolkit.synthetic.street import GENERATOR_VERSION, render_pair, street_scene

__all__ = ['GENERATOR_VERSION', 'render_pair', 'street_scene']
