"""Checkpoints are data: loading one never runs code that somebody put into it.

mmengine reads checkpoints by pickle, which calls whatever a file names. Some of its versions try
torch's ``weights_only`` first and then fall back; some do not try. ``guard_loaders`` puts every
loader of mmengine, by its own extension point, behind torch's unpickler of bare data, which is told
of what mmengine itself writes and refuses everything else. ``--resume``, ``load_from``,
``Pretrained``, ``init_model`` and the tools all load by these, whatever the scheme: a path,
``https://``, ``open-mmlab://`` …
"""

import contextlib
import functools
import importlib
import os
import pickle
import re
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, checkpoint
from torch import _weights_only_unpickler

try:
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
except ImportError:  # torch before 2.6
    safe_globals = None

TRUST = 'PSPNET_PLUGIN_TRUST_CHECKPOINTS'

# The methods that mmengine's objects carry along.
_METHODS = {
    (HistoryBuffer, 'min'),
    (HistoryBuffer, 'max'),
    (HistoryBuffer, 'mean'),
    (HistoryBuffer, 'current'),
    (OneCycleParamScheduler, '_annealing_cos'),
    (OneCycleParamScheduler, '_annealing_linear'),
}


class UnsafeCheckpoint(ValueError):
    """A file that asks for more than data."""


def _method(owner: type, name: str) -> Callable:
    """Stands for ``getattr``, by which pickle names methods, and gives no others."""
    if (owner, name) not in _METHODS:
        raise pickle.UnpicklingError(f'GLOBAL {owner.__module__}.{owner.__qualname__}.{name}')
    return getattr(owner, name)


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Stands for ``codecs.encode``, by which older pickles write bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'GLOBAL _codecs.encode to {encoding!r}')
    return text.encode('latin1')


# What mmengine writes beside tensors: its history of logged values; arrays and scalars of NumPy in
# it and in datasets' metainfo, whose makers NumPy 1 and 2 keep in different places; sections of
# configs; the state of one scheduler.
_KINDS = [HistoryBuffer, OneCycleParamScheduler, ConfigDict, np.ndarray, np.dtype]
_KINDS += sorted({type(np.dtype(code)) for code in '?bBhHiIlLqQefdU'}, key=str)
_multiarray = importlib.import_module(
    'numpy.core.multiarray' if np.__version__.startswith('1.') else 'numpy._core.multiarray'
)
_ALLOWED = {
    'builtins.getattr': _method,
    '_codecs.encode': _encode,
    **{f'{kind.__module__}.{kind.__qualname__}': kind for kind in _KINDS},
    **{
        f'numpy.{core}.multiarray.{name}': getattr(_multiarray, name)
        for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    },
}


def guard_loaders() -> None:
    """Puts the loaders of every scheme that mmengine knows behind the guard."""
    for scheme, loader in CheckpointLoader._schemes.items():
        if not hasattr(loader, '__wrapped__'):
            CheckpointLoader.register_scheme(scheme, _guarded(loader), force=True)


def _guarded(loader: Callable) -> Callable:
    """A loader that refuses more than data.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeCheckpoint: it names classes or functions that no checkpoint of mmengine needs.
        ValueError: it is no checkpoint, cut off, or has changed since it was written.
    """

    @functools.wraps(loader)  # mmengine logs its name
    def load(filename: str, map_location=None, **kwargs) -> dict:
        path = Path(filename).expanduser()  # no file, for most schemes
        if os.environ.get(TRUST) == '1':
            _say_aloud(filename)
            with mock.patch.dict(os.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1'):
                return loader(filename, map_location, **kwargs)
        try:
            _check_archive(path)
            with _data_only():
                return loader(filename, map_location, **kwargs)
        except pickle.UnpicklingError as error:
            found = _asked_for(path, error)
            raise _refusal(filename, found) if found else _damaged(filename, path, error) from None
        except (AttributeError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            if isinstance(error, KeyError) and '://' in filename:
                scheme = filename.partition('://')[0]
                raise ValueError(f'{filename}: {scheme} has no model {error}') from None
            if isinstance(error, RuntimeError) and (not path.is_file() or zipfile.is_zipfile(path)):
                raise  # of a whole file, or of no local one: it is memory, a device or the network
            raise _damaged(filename, path, error) from None

    return load


@contextlib.contextmanager
def _data_only() -> Iterator[None]:
    """Every ``torch.load`` within takes data alone, also one that says ``weights_only=False``.

    Upstream and onedl differ in how their loaders call it; onedl's own way, which falls back and
    allows more, is bypassed.
    """
    with contextlib.ExitStack() as stack:
        if safe_globals:
            stack.enter_context(safe_globals([(value, name) for name, value in _ALLOWED.items()]))
            stack.enter_context(mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'))
        else:
            stack.enter_context(mock.patch.object(torch, 'load', _load_by_pickle(torch.load)))
        own = mock.patch.object(checkpoint, '_safe_torch_load', torch.load, create=True)
        stack.enter_context(own)
        yield


def _load_by_pickle(load: Callable) -> Callable:
    """``torch.load`` for a torch that can be told of no more classes: pickle's, which knows few."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            full = f'{module.replace("__builtin__", "builtins")}.{name}'  # as Python 2 wrote it
            known = {**_weights_only_unpickler._get_allowed_globals(), **_ALLOWED}
            if full not in known:
                raise pickle.UnpicklingError(f'GLOBAL {full}')
            return known[full]

    module = types.SimpleNamespace(
        __name__='pickle of data',
        Unpickler=Unpickler,
        load=lambda file, **k: Unpickler(file, **k).load(),
    )

    def load_data(file, map_location=None, **kwargs) -> object:
        return load(file, map_location, pickle_module=module, weights_only=False)

    return load_data


def _check_archive(path: Path) -> None:
    """Compares the sums of an archive, which ``torch.load`` does not."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith('/data.pkl') for name in archive.namelist()):
                raise zipfile.BadZipFile('an archive, but none of torch')
            if changed := archive.testzip():
                raise zipfile.BadZipFile(f'{changed} has changed since it was written')


def _asked_for(path: Path, error: pickle.UnpicklingError) -> list[str]:
    """What a checkpoint names beyond data; empty where it is not known to name any."""
    named = set(re.findall(r'GLOBAL (\S+)', str(error)))
    with contextlib.suppress(Exception):  # no local file, an old format, an old torch
        named |= set(get_unsafe_globals_in_checkpoint(path))
    return sorted(named - _ALLOWED.keys())


def _refusal(filename: str, found: list[str]) -> UnsafeCheckpoint:
    return UnsafeCheckpoint(
        f'{filename} was not loaded: it asks for {", ".join(found)} to be called while it is read, '
        'which no checkpoint needs and which may run any code. Only if you made the file yourself: '
        f'set {TRUST}=1 in the environment of this one command'
    )


def _damaged(filename: str, path: Path, error: Exception) -> ValueError:
    size = f' ({path.stat().st_size} bytes)' if path.is_file() else ''
    said = re.sub(r'\x1b\[\d+m', '', ' '.join(str(error).split()))[:160]
    return ValueError(
        f'{filename}{size} is no checkpoint, or cut off or changed; copy it again, or take another '
        f'({type(error).__name__}: {said})'
    )


def _say_aloud(filename: str) -> None:
    MMLogger.get_current_instance().warning(
        f'{TRUST}=1: {filename} IS LOADED WITHOUT PROTECTION, AND MAY RUN ANY CODE'
    )
