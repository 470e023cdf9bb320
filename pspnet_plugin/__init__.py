"""PSPNet on side-by-side pairs, for MMSegmentation 1.x.

Importing this package registers its datasets, models, metric and training loop in
``mmseg.registry``, and the two virtual file schemes of a pair in mmengine. A config asks for that
with ``custom_imports = dict(imports=['pspnet_plugin'], allow_failed_imports=False)``.
``pspnet_plugin.Predictor`` labels photos with a trained network.
"""

from typing import TYPE_CHECKING, Any

from pspnet_plugin.framework import check_framework, import_framework
from pspnet_plugin.version import __version__

check_framework()
import_framework()

# Only after the check: they import mmseg, whose own ImportError would not say what to do.
from pspnet_plugin import datasets, engine, evaluation, models  # noqa: E402

if TYPE_CHECKING:
    from pspnet_plugin.apis import Prediction, Predictor

__all__ = [
    'Prediction', 'Predictor', '__version__', 'datasets', 'engine', 'evaluation', 'models',
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what only inference needs, when it is first asked for."""
    if name in ('Prediction', 'Predictor'):
        from pspnet_plugin import apis

        return getattr(apis, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
