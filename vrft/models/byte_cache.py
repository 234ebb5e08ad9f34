"""Memory of what was made last, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Values by key, those used last; threads may share it.

    All values together take at most ``limit`` bytes, counted by ``size``; one that is larger than
    that by itself is not held at all.
    """

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit, self.size = limit, size
        self.held: OrderedDict[Hashable, V] = OrderedDict()
        self.bytes = 0
        self.lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        """The value of a key, which counts as a use; None where it is not held."""
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
            return self.held.get(key)

    def put(self, key: Hashable, value: V) -> None:
        """Hold a value, and let go of those not used for longest until all fit."""
        if self.size(value) > self.limit:
            return
        with self.lock:
            if key in self.held:
                self.bytes -= self.size(self.held.pop(key))
            self.held[key] = value
            self.bytes += self.size(value)
            while self.bytes > self.limit:
                self.bytes -= self.size(self.held.popitem(last=False)[1])
