"""Importing the rooms that load torch: some 3,500 modules, which live as long as the process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Stop garbage collection while torch is imported, and exempt what it made from later ones.

    Collecting among a million new objects, none of which is garbage, takes a fifth of the time of
    importing torch and transformers; frozen, they are not looked through again. Nothing is done
    where torch is loaded already, as others' garbage would be frozen as well, or where collection
    rests as it is.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
