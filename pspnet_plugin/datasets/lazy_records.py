"""Records that are made when they are asked for, so that a million of them take little memory."""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from typing import overload

import numpy as np


class LazyRecords(Sequence[dict]):
    """Records of files, kept as the files' names in one buffer, 16 bytes and a name each.

    It stands in for the ``data_list`` of a dataset. Processes that are forked share the buffer, so
    the framework need not serialize it.

    Args:
        names: Names of files, none with a NUL character.
        make: From a name to its record; a new one each time.
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], dict]) -> None:
        self._make = make
        self._buffer = os.fsencode(''.join(f'{name}\0' for name in names))
        self._ends = np.flatnonzero(np.frombuffer(self._buffer, np.uint8) == 0)
        self._starts = np.concatenate([[0], self._ends + 1])[:-1]

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> dict: ...

    @overload
    def __getitem__(self, index: slice) -> 'LazyRecords': ...

    def __getitem__(self, index):
        """Return a record, or the records of a slice, which share the buffer."""
        if isinstance(index, slice):
            part = copy.copy(self)
            part._starts, part._ends = self._starts[index], self._ends[index]
            return part
        return self._make(os.fsdecode(self._buffer[self._starts[index] : self._ends[index]]))
