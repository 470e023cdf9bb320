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
    """Check that exactly one family is installed, and recent enough.

    Raises:
        ImportError: none is installed, both are, or mmseg is older than 1.2. The message names the
            installed versions and the command to fix it.
    """
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
    for family, names in FAMILIES.items():
        version = installed[family].get(names[0])
        if version is None:
            continue
        if version < MIN_MMSEG:
            raise ImportError(
                f'pspnet_plugin needs mmseg {MIN_MMSEG} or newer, but {names[0]} {version} is '
                f'installed: {HOW_TO_INSTALL}.'
            )
        return
    if util.find_spec('mmseg') is None:
        raise ImportError(
            f'pspnet_plugin needs MMSegmentation, which is not installed: {HOW_TO_INSTALL}.'
        )
    # A source tree on PYTHONPATH: there is mmseg, but no distribution.
    import mmseg

    if Version(mmseg.__version__) < MIN_MMSEG:
        raise ImportError(
            f'pspnet_plugin needs mmseg {MIN_MMSEG} or newer, but {mmseg.__file__} is '
            f'{mmseg.__version__}: {HOW_TO_INSTALL}.'
        )


def import_framework() -> None:
    """Import the framework without its messages on optional parts that nothing here uses.

    Those on OneDL (datasets of that service) and on mmcv without compiled operators read as if the
    installation were broken.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention')
        import_module('mmseg.datasets')
        import_module('mmseg.models')
    for line in output.getvalue().splitlines():
        if line != 'Could not import OneDL':
            print(line)
