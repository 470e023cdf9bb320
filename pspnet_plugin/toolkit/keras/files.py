"""Layers and their arrays out of Keras' files, without Keras: nothing in a file is executed.

Three kinds are read: ``.keras`` archives and ``.weights.h5`` of Keras 3, and the ``.h5`` of Keras 2
(``model.save`` and ``save_weights``) that Keras 3 still writes.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import h5py

ENDS = ('.keras', '.h5', '.hdf5')
_WEIGHTS, _MODEL = 'model.weights.h5', 'config.json'  # in an archive
# What files hold beside the layers: the state of the optimizer, say.
_ASIDE = {'optimizer', 'optimizer_weights', 'metrics', 'compile_metrics', 'loss_tracker'}


class KerasLayer(NamedTuple):
    """A layer that has weights, with these in the order in which Keras lists them.

    ``config`` holds its arguments, and nothing where the file has weights alone.
    """

    name: str
    arrays: list[np.ndarray]
    config: dict

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """That of each array."""
        return [array.shape for array in self.arrays]


def read_keras(path: Path) -> list[KerasLayer]:
    """The layers with weights, each kind (number and rank of its arrays) in the file's order.

    Args:
        path: A file that Keras has saved.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: h5py is not installed.
        ValueError: it is no such file, is damaged, or holds no weights.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[keras]'"
        ) from None
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a file that Keras has saved')
    expected = f'expected a file that Keras has saved ({", ".join(ENDS)})'
    try:
        source: Path | io.BytesIO = path
        model = None
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if _WEIGHTS not in archive.namelist():
                    raise ValueError(f'it is an archive without {_WEIGHTS}')
                source = io.BytesIO(archive.read(_WEIGHTS))
                model = archive.read(_MODEL)
        with h5py.File(source, 'r') as file:
            configs = _configs(model or file.attrs.get('model_config'))
            top = file.get('model_weights', file)
            found = _by_name(top) if 'layer_names' in top.attrs else _by_place(file)
            layers = [KerasLayer(name, arrays, configs.get(name, {})) for name, arrays in found]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path} cannot be read: {reason}; {expected}') from None
    if not layers:
        raise ValueError(f'{path} holds no layer with weights; {expected}')
    return layers


def _configs(model: str | bytes | None) -> dict[str, dict]:
    """The arguments of each layer, by its name, out of a model's JSON."""
    if not model:
        return {}
    layers = json.loads(model)['config'].get('layers', ())
    return {layer['config'].get('name', ''): layer['config'] for layer in layers}


def _by_name(top: 'h5py.Group') -> list[tuple[str, list[np.ndarray]]]:
    """As Keras 2 writes: a group a layer, which lists its weights."""
    found = []
    for name in map(_text, top.attrs['layer_names']):
        weights = [_text(weight) for weight in top[name].attrs['weight_names']]
        if weights:
            found.append((name, [_array(top[name][weight]) for weight in weights]))
    return found


def _by_place(file: 'h5py.File') -> list[tuple[str, list[np.ndarray]]]:
    """As Keras 3 writes: ``layers/conv2d_1/vars/0``, numbered as the model lists its layers."""
    import h5py

    found = {}

    def visit(place: str, item: object) -> None:
        parts = place.split('/')
        if not isinstance(item, h5py.Group) or parts[-1] != 'vars' or parts[0] in _ASIDE:
            return
        arrays = [_array(item[key]) for key in sorted(item, key=int)]
        if arrays:
            name = _text(item.attrs.get('name', parts[-2] if len(parts) > 1 else place))
            found[place] = name, arrays

    file.visititems(visit)
    return [found[place] for place in sorted(found, key=_numbered)]


def _numbered(place: str) -> list[tuple[str, int]]:
    """A key that has ``conv2d`` before ``conv2d_2`` before ``conv2d_10``."""
    parts = (re.fullmatch(r'(.*?)(?:_(\d+))?', part) for part in place.split('/'))
    return [(part[1], int(part[2] or 0)) for part in parts]


def _array(item: object) -> np.ndarray:
    array = np.asarray(item)
    if array.dtype.kind != 'f':
        raise ValueError(f'{item.name}: {array.dtype} values, expected floats')
    return array


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
