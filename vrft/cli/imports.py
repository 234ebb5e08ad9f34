"""Importing the rooms that load torch: some 3,500 modules, which live as long as the process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting(module: str) -> Iterator[None]:
    """Let garbage collection rest while a module and its imports are loaded, and pass them by.

    Collecting among a million new objects, none of which is garbage, takes a fifth of the time of
    importing torch and transformers; frozen, they are not looked through again. Nothing is done
    where the module is loaded already, or where collection rests as it is.
    """
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
