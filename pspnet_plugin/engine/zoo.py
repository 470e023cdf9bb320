"""Trained networks that travel with the package, by name.

``model-index.yml`` names the config and the weights of each, and ``weights/SHA256SUMS`` what the
weights' files hold. Importing this module registers ``zoo://NAME`` with mmengine's loaders, for
``load_from`` and ``Pretrained``.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mmengine.runner import CheckpointLoader

from pspnet_plugin.utils.files import CHECKSUMS, check_sha256, read_checksums

SCHEME = 'zoo://'
DEFAULT_MODEL = 'psp_efficientnet-lite2'
AGAIN = 'install the package again; in a checkout: git checkout weights'


class TrainedNetwork(NamedTuple):
    """Files of a trained network."""

    config: Path
    weights: Path

    @property
    def card(self) -> Path:
        """Model card: training data, scores and licence."""
        return self.weights.with_suffix('.md')


def zoo_root() -> Path:
    """Return the directory of configs and weights: of the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim'
    return installed if installed.is_dir() else package.parent


def trained_networks() -> dict[str, TrainedNetwork]:
    """Return the trained networks by their names; ``ValueError``: their index is damaged."""
    root = zoo_root()
    index = root / 'model-index.yml'
    try:
        return {
            model['Name']: TrainedNetwork(root / model['Config'], root / model['Weights'])
            for model in yaml.safe_load(index.read_text(encoding='utf-8'))['Models']
            if 'Weights' in model
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        raise ValueError(f'{index} cannot be read as a list of models; {AGAIN}') from None


def find_network(name: str) -> TrainedNetwork:
    """Find a trained network by its name, with or without ``zoo://``, and check its weights.

    ``ValueError``: no such name, or the file has changed. ``FileNotFoundError``: it is missing.
    """
    networks, name = trained_networks(), name.removeprefix(SCHEME)
    if name not in networks:
        raise ValueError(f'{name!r} is no trained network; expected one of {", ".join(networks)}')
    weights = networks[name].weights
    if not weights.is_file():
        raise FileNotFoundError(f'{weights} is missing; {AGAIN}')
    checksums = weights.with_name(CHECKSUMS)
    expected = read_checksums(checksums).get(weights.name)
    if expected is None:
        raise ValueError(f'{checksums} has no line for {weights.name}; {AGAIN}')
    check_sha256(weights, expected, remedy=AGAIN)
    return networks[name]


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_zoo(filename: str, map_location: Any = None) -> dict:
    """Load the weights of a trained network; see ``find_network``."""
    return CheckpointLoader.load_checkpoint(str(find_network(filename).weights), map_location)
