"""A cache of recently used values, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """The most recently used values by key, which several threads may share.

    Together they take at most ``limit`` bytes, as ``size`` counts a value's. A value that is larger
    than that by itself is not held.
    """

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit, self.size = limit, size
        self.values: OrderedDict[Hashable, V] = OrderedDict()  # the longest unused comes first
        self.bytes = 0
        self.lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, which counts as a use; None where none is held."""
        # Locked as well: another thread may drop the key between the test and the move.
        with self.lock:
            if key in self.values:
                self.values.move_to_end(key)
            return self.values.get(key)

    def put(self, key: Hashable, value: V) -> None:
        """Hold a value, and drop the longest unused ones until all fit."""
        if self.size(value) > self.limit:
            return
        with self.lock:
            # Two threads that missed the same key at the same time both come here with its value.
            if key in self.values:
                self.bytes -= self.size(self.values.pop(key))
            self.values[key] = value
            self.bytes += self.size(value)
            while self.bytes > self.limit:
                self.bytes -= self.size(self.values.popitem(last=False)[1])
