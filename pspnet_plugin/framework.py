"""Check, before anything else is imported, that a usable MMSegmentation is installed.

Two families exist under the same import names (``mmseg``, ``mmengine``, ``mmcv``): the upstream
packages of OpenMMLab and their maintained continuation, the ``onedl-*`` packages. pip does not know
that one overwrites the other's files, so this module does.
"""

import contextlib
import io
import warnings
from importlib import import_module, metadata, util

from packaging.version import Version

MIN_MMSEG = Version('1.2')
FAMILIES = {
    'onedl': ('onedl-mmsegmentation', 'onedl-mmengine', 'onedl-mmcv'),
    'openmmlab': ('mmsegmentation', 'mmengine', 'mmcv', 'mmcv-lite'),
}
HOW_TO_INSTALL = (
    "install one family: pip install 'pspnet-plugin[onedl]' (maintained; what the README uses) "
    "or pip install 'pspnet-plugin[openmmlab]' (upstream, frozen since 2024; compiles its mmcv)"
)


def _version(distribution: str) -> Version | None:
    try:
        return Version(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return None


def check_framework() -> None:
    """Raise ``ImportError`` unless exactly one family is installed, and recent enough."""
    installed = {
        family: {name: version for name in names if (version := _version(name))}
        for family, names in FAMILIES.items()
    }
    if all(installed.values()):
        listed = ', '.join(f'{n} {v}' for names in installed.values() for n, v in names.items())
        raise ImportError(
            'pspnet_plugin: both families of MMSegmentation are installed and overwrite each '
            f'other ({listed}). Uninstall all of these with pip, then {HOW_TO_INSTALL}.'
        )
    if util.find_spec('mmseg') is None:
        raise ImportError(
            f'pspnet_plugin needs MMSegmentation, which is not installed: {HOW_TO_INSTALL}.'
        )
    for family, (name, *_) in FAMILIES.items():
        if version := installed[family].get(name):
            break
    else:  # a source tree on PYTHONPATH: there is mmseg, but no distribution
        mmseg = import_module('mmseg')
        name, version = str(mmseg.__file__), Version(mmseg.__version__)
    if version < MIN_MMSEG:
        raise ImportError(
            f'pspnet_plugin needs mmseg {MIN_MMSEG} or newer, but {name} {version} is installed: '
            f'{HOW_TO_INSTALL}.'
        )


def import_framework() -> None:
    """Import the framework without its messages on optional parts, which read like faults."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention')
        import_module('mmseg.datasets')
        import_module('mmseg.models')
    for line in output.getvalue().splitlines():
        if line != 'Could not import OneDL':
            print(line)
