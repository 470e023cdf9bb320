"""A cache of bytes that pack well, such as label maps: a few kilobytes for a map of 256 x 256."""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Hashable


class PackedCache:
    """Keeps contents compressed; what was not asked for the longest goes first.

    Args:
        capacity: Bytes of compressed contents that are kept at most.
    """

    def __init__(self, *, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._packed: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """The content, or None if it is not kept."""
        with self._lock:
            if key not in self._packed:
                return None
            self._packed.move_to_end(key)
            packed = self._packed[key]
        return zlib.decompress(packed)

    def put(self, key: Hashable, content: bytes) -> None:
        """Keeps a content, unless it alone is more than a hundredth of what fits."""
        packed = zlib.compress(content, 1)
        if len(packed) > self.capacity // 100:
            return
        with self._lock:
            self.size += len(packed) - len(self._packed.pop(key, b''))
            self._packed[key] = packed
            while self.size > self.capacity:
                self.size -= len(self._packed.popitem(last=False)[1])

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._packed.clear()
            self.size = 0
