"""Read layers and their arrays from Keras files, without Keras; nothing in a file is executed.

Three formats are read: ``.keras`` archives and ``.weights.h5`` of Keras 3, and the ``.h5`` of
Keras 2 (``model.save`` and ``save_weights``), which Keras 3 still writes.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pspnet_plugin.utils.natural_order import natural_key

if TYPE_CHECKING:
    import h5py

FORMATS = ('.keras', '.h5', '.hdf5')
WEIGHTS, MODEL = 'model.weights.h5', 'config.json'  # members of an archive
# Groups that files hold beside the layers.
NOT_LAYERS = {'optimizer', 'optimizer_weights', 'metrics', 'compile_metrics', 'loss_tracker'}


class KerasLayer(NamedTuple):
    """A layer with its weights in the order in which Keras lists them."""

    name: str
    arrays: list[np.ndarray]
    config: dict  # its arguments, empty where the file has only weights

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of each array."""
        return [array.shape for array in self.arrays]


def read_keras(path: Path) -> list[KerasLayer]:
    """Read the layers that have weights, in the order of their creation within each layer type.

    ``FileNotFoundError``: the file does not exist. ``ImportError``: h5py is not installed.
    ``ValueError``: the file has another format, is damaged, or holds no weights.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[keras]'"
        ) from None
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a file that Keras has saved')
    expected = f'expected a file that Keras has saved ({", ".join(FORMATS)})'
    source: Path | io.BytesIO = path
    model: str | bytes | None = None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if WEIGHTS not in archive.namelist():
                    raise ValueError(f'the archive has no {WEIGHTS}')
                source = io.BytesIO(archive.read(WEIGHTS))
                model = archive.read(MODEL)
        with h5py.File(source, 'r') as file:
            configs = _layer_configs(model or file.attrs.get('model_config'))
            top = file.get('model_weights', file)
            arrays = _keras2_arrays(top) if 'layer_names' in top.attrs else _keras3_arrays(file)
            layers = [KerasLayer(name, found, configs.get(name, {})) for name, found in arrays]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path} cannot be read: {reason}; {expected}') from None
    if not layers:
        raise ValueError(f'{path} holds no layer with weights; {expected}')
    return layers


def _layer_configs(model: str | bytes | None) -> dict[str, dict]:
    """Return the arguments of each layer by its name, from a model's JSON."""
    layers = json.loads(model)['config'].get('layers', ()) if model else ()
    return {layer['config'].get('name', ''): layer['config'] for layer in layers}


def _keras2_arrays(top: 'h5py.Group') -> list[tuple[str, list[np.ndarray]]]:
    """Read Keras 2's format: a group for each layer, with the list of its weights."""
    layers = {}
    for name in map(_text, top.attrs['layer_names']):
        weights = map(_text, top[name].attrs['weight_names'])
        layers[name] = [_read_floats(top[name][weight]) for weight in weights]
    return [(name, arrays) for name, arrays in layers.items() if arrays]


def _keras3_arrays(file: 'h5py.File') -> list[tuple[str, list[np.ndarray]]]:
    """Read Keras 3's format: ``layers/conv2d_1/vars/0``, numbered in the order of creation."""
    groups: list[str] = []
    file.visit(lambda path: groups.append(path) if path.split('/')[-1] == 'vars' else None)
    layers = []
    for path in sorted(groups, key=natural_key):  # conv2d, conv2d_2, conv2d_10
        group, parts = file[path], path.split('/')
        if parts[0] not in NOT_LAYERS and (keys := sorted(group, key=int)):
            name = _text(group.attrs.get('name', parts[-2] if len(parts) > 1 else path))
            layers.append((name, [_read_floats(group[key]) for key in keys]))
    return layers


def _read_floats(dataset: 'h5py.Dataset') -> np.ndarray:
    array = np.asarray(dataset)
    if array.dtype.kind != 'f':
        raise ValueError(f'{dataset.name}: {array.dtype} values, expected floats')
    return array


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
