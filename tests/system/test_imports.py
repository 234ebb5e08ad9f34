"""Garbage collection while modules are imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from vrft.system.imports import lasting


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without torch, and give back to collection what a test has frozen."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    yield
    gc.unfreeze()
    gc.enable()


def test_collection_rests_while_a_module_is_imported_and_passes_it_by_afterwards() -> None:
    before = gc.get_freeze_count()
    with lasting():
        assert not gc.isenabled()
        kept: list[list[int]] = [[]]  # stands for a module's objects
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    assert all(thing is not kept for thing in gc.get_objects())


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), lasting():
        raise ImportError("no such library")
    assert gc.isenabled()


def test_nothing_is_frozen_where_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    before = gc.get_freeze_count()
    with lasting():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_collection_that_rests_is_not_begun() -> None:
    gc.disable()
    with lasting():
        assert not gc.isenabled()
    assert not gc.isenabled()
