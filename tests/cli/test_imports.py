"""Garbage collection while modules are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from vrft.cli.imports import lasting


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Give back to collection what a test has frozen."""
    yield
    gc.unfreeze()
    gc.enable()


def test_collection_rests_while_a_module_is_imported_and_passes_it_by_afterwards() -> None:
    before = gc.get_freeze_count()
    with lasting("a_module_that_nobody_has_imported"):
        assert not gc.isenabled()
        kept: list[list[int]] = [[]]  # stands for a module's objects
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    assert all(thing is not kept for thing in gc.get_objects())


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), lasting("a_module_that_nobody_has_imported"):
        raise ImportError("no such library")
    assert gc.isenabled()


def test_nothing_is_frozen_for_a_module_that_is_loaded() -> None:
    before = gc.get_freeze_count()
    with lasting("gc"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_collection_that_rests_is_not_begun() -> None:
    gc.disable()
    with lasting("a_module_that_nobody_has_imported"):
        assert not gc.isenabled()
    assert not gc.isenabled()
