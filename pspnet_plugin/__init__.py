"""PSPNet on side-by-side pairs, for MMSegmentation 1.x.

Importing this package registers its datasets, models, metric and training loop in
``mmseg.registry``, and the two virtual file schemes of a pair in mmengine. A config asks for that
with ``custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)``.
"""

from pspnet_plugin.framework import check_framework, import_framework
from pspnet_plugin.version import __version__

check_framework()
import_framework()

# Only after the check: they import mmseg, whose own ImportError would not say what to do.
from pspnet_plugin import datasets, engine, evaluation, models  # noqa: E402

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
