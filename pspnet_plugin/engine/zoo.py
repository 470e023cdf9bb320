"""Trained networks that travel with the package, by name.

``model-index.yml`` names the config and the weights of each, and ``weights/SHA256SUMS`` what the
weights' files hold. Importing this module registers ``zoo://NAME`` with mmengine's loaders, for
``load_from``, ``Pretrained`` and the tools.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mmengine.runner import CheckpointLoader

from pspnet_plugin.utils.files import check_sha256

SCHEME = 'zoo://'
DEFAULT = 'psp_efficientnet-lite2'
SUMS = 'SHA256SUMS'


class TrainedNetwork(NamedTuple):
    """Files of a trained network."""

    config: Path
    weights: Path


def zoo_root() -> Path:
    """Return the directory of configs and weights: of the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim'
    return installed if installed.is_dir() else package.parent


def trained_networks() -> dict[str, TrainedNetwork]:
    """Return the trained networks by their names."""
    root = zoo_root()
    models = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))['Models']
    return {
        model['Name']: TrainedNetwork(root / model['Config'], root / model['Weights'])
        for model in models
        if 'Weights' in model
    }


def read_sums(path: Path) -> dict[str, str]:
    """Read the digest of each file from one in the format of ``sha256sum``; none if it is not."""
    lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else ()
    return {name: digest for digest, name in (line.split() for line in lines)}


def find_network(name: str) -> TrainedNetwork:
    """Find a trained network by its name, and check its weights.

    ``ValueError``: no such name, or the file has changed. ``FileNotFoundError``: it is missing.
    """
    networks = trained_networks()
    if name not in networks:
        raise ValueError(f'{name!r} is no trained network; expected one of {", ".join(networks)}')
    weights = networks[name].weights
    expected = read_sums(weights.with_name(SUMS)).get(weights.name, 'none')
    check_sha256(weights, expected, remedy='install the package again')
    return networks[name]


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_zoo(filename: str, map_location: Any = None) -> dict:
    """Load the weights of a trained network; see ``find_network``."""
    weights = find_network(filename.removeprefix(SCHEME)).weights
    return CheckpointLoader.load_checkpoint(str(weights), map_location)
