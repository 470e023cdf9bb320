"""Loading a checkpoint never runs code that somebody put into it.

mmengine reads checkpoints by pickle, which calls whatever a file names; torch's ``weights_only`` it
does not try, or falls back from. ``guard_loaders`` puts all its loaders (paths, ``https://``,
``open-mmlab://`` …), by which ``--resume``, ``load_from``, ``Pretrained``, ``init_model`` and the
tools load, behind torch's unpickler of bare data, extended by the few things that mmengine writes.
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
from typing import IO, Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, checkpoint
from torch import _weights_only_unpickler, serialization

TRUST = 'PSPNET_PLUGIN_TRUST_CHECKPOINTS'

# Methods that mmengine's objects carry along.
_METHODS = {
    HistoryBuffer: ('min', 'max', 'mean', 'current'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


class UnsafeCheckpoint(ValueError):
    """A file that names more than data."""


def _method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, by which pickle names methods; any but ``_METHODS`` is refused."""
    if name not in _METHODS.get(owner, ()):
        raise pickle.UnpicklingError(f'GLOBAL {owner.__module__}.{owner.__qualname__}.{name}')
    return getattr(owner, name)


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Stand in for ``codecs.encode``, by which older pickles write bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'GLOBAL _codecs.encode to {encoding!r}')
    return text.encode('latin1')


# mmengine writes, beside tensors: its history of logged values; arrays and scalars, whose
# constructors NumPy 1 and 2 keep in different places; sections of configs; a scheduler's state.
_TYPES = [HistoryBuffer, OneCycleParamScheduler, ConfigDict, np.ndarray, np.dtype]
_TYPES += sorted({type(np.dtype(code)) for code in '?bBhHiIlLqQefdU'}, key=str)
_multiarray = importlib.import_module(
    'numpy.core.multiarray' if np.__version__.startswith('1.') else 'numpy._core.multiarray'
)
_ALLOWED: dict[str, Callable] = {
    'builtins.getattr': _method,
    '_codecs.encode': _encode,
    **{f'{kind.__module__}.{kind.__qualname__}': kind for kind in _TYPES},
    **{
        f'numpy.{core}.multiarray.{name}': getattr(_multiarray, name)
        for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    },
}


def guard_loaders() -> None:
    """Guard the loaders of all schemes that mmengine knows; guarding twice changes nothing."""
    for scheme, loader in CheckpointLoader._schemes.items():
        if not hasattr(loader, '__wrapped__'):
            CheckpointLoader.register_scheme(scheme, _guarded(loader), force=True)


def _guarded(loader: Callable[..., dict]) -> Callable[..., dict]:
    """Wrap a loader: it raises ``UnsafeCheckpoint``, or ``ValueError`` for a damaged file."""

    @functools.wraps(loader)  # mmengine logs its name
    def load(filename: str, map_location: Any = None, **kwargs) -> dict:
        path = Path(filename).expanduser()  # of most schemes, no file
        if os.environ.get(TRUST) == '1':
            MMLogger.get_current_instance().warning(
                f'{TRUST}=1: {filename} IS LOADED WITHOUT PROTECTION, AND MAY RUN ANY CODE'
            )
            with mock.patch.dict(os.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1'):
                return loader(filename, map_location, **kwargs)
        try:
            _check_archive(path)
            with _data_only():
                return loader(filename, map_location, **kwargs)
        except pickle.UnpicklingError as error:
            if names := _unsafe_names(path, error):
                raise UnsafeCheckpoint(
                    f'{filename} was not loaded: it asks for {", ".join(names)} to be called while '
                    'it is read, which no checkpoint needs and which may run any code. Only if you '
                    f'made the file yourself: set {TRUST}=1 in the environment of this one command'
                ) from None
            raise _damaged(filename, path, error) from None
        except (AttributeError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            if isinstance(error, KeyError) and '://' in filename:
                scheme = filename.partition('://')[0]
                raise ValueError(f'{filename}: {scheme} has no model {error}') from None
            if isinstance(error, RuntimeError) and (not path.is_file() or zipfile.is_zipfile(path)):
                raise  # the file is intact, or not local: it is memory, a device or the network
            raise _damaged(filename, path, error) from None

    return load


@contextlib.contextmanager
def _data_only() -> Iterator[None]:
    """Make ``torch.load``, and onedl's laxer ``_safe_torch_load``, take data alone in any case."""
    with contextlib.ExitStack() as stack:
        if hasattr(serialization, 'get_unsafe_globals_in_checkpoint'):  # torch 2.6 and newer
            allowed = serialization.safe_globals([(v, name) for name, v in _ALLOWED.items()])
            stack.enter_context(allowed)
            stack.enter_context(mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'))
        else:
            stack.enter_context(mock.patch.object(torch, 'load', _load_by_pickle(torch.load)))
        patch = mock.patch.object(checkpoint, '_safe_torch_load', torch.load, create=True)
        stack.enter_context(patch)
        yield


def _load_by_pickle(load: Callable) -> Callable:
    """Return a ``torch.load`` for versions of torch whose own unpickler cannot be extended."""

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
        load=lambda file, **kwargs: Unpickler(file, **kwargs).load(),
    )

    def load_data(file: str | Path | IO[bytes], map_location: Any = None, **kwargs) -> object:
        return load(file, map_location, pickle_module=module, weights_only=False)

    return load_data


def _check_archive(path: Path) -> None:
    """Verify the checksums of an archive, which ``torch.load`` does not."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith('/data.pkl') for name in archive.namelist()):
                raise zipfile.BadZipFile('an archive, but none of torch')
            if changed := archive.testzip():
                raise zipfile.BadZipFile(f'{changed} has changed since it was written')


def _unsafe_names(path: Path, error: pickle.UnpicklingError) -> list[str]:
    """Return the names beyond data in a checkpoint, as far as they are known."""
    names = set(re.findall(r'GLOBAL (\S+)', str(error)))
    with contextlib.suppress(Exception):  # no local file, an old format, an old torch
        names |= set(serialization.get_unsafe_globals_in_checkpoint(path))
    return sorted(names - _ALLOWED.keys())


def _damaged(filename: str, path: Path, error: Exception) -> ValueError:
    size = f' ({path.stat().st_size} bytes)' if path.is_file() else ''
    reason = re.sub(r'\x1b\[\d+m', '', ' '.join(str(error).split()))[:160]
    return ValueError(
        f'{filename}{size} is no checkpoint, or cut off or changed; copy it again, or take another '
        f'({type(error).__name__}: {reason})'
    )
