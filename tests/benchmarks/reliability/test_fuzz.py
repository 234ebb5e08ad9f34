"""The fuzzer finds what is there to be found, and says on which input."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from benchmarks.reliability import fuzz
from benchmarks.reliability.targets import Target
from vrft.errors import UserError


def failing(content: bytes, path: Path) -> None:
    if b"7" in content:
        raise KeyError(content)
    if b"8" in content:
        raise UserError("an eight")


def test_an_undeclared_error_is_named_with_its_shortest_input() -> None:
    target = Target(failing, st.sampled_from([b"7777777", b"8", b"9"]), (UserError,))
    outcome = fuzz.fuzz("failing", target, 5.0, inputs=500)
    (error,) = outcome.errors
    assert error.startswith("KeyError: test_fuzz.py:")
    assert len(outcome.errors[error]) <= len(repr(b"7777777"))
    assert 0 < outcome.refused < outcome.inputs


def working(content: bytes, path: Path) -> None:
    while True:
        pass


@pytest.mark.timeout(60)
@pytest.mark.parametrize("without_end", [working, lambda content, path: time.sleep(50)])
def test_an_input_without_end_is_found(
    without_end: Callable[[bytes, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 1)
    monkeypatch.setattr(fuzz, "LONGEST_WAIT", 1 if without_end is not working else 50)
    outcome = fuzz.Outcome("slow")
    fuzz.find_hanging()
    fuzz.attempt(Target(without_end, st.just(b"")), b"x", Path(), outcome)
    assert [error.partition(":")[0] for error in outcome.errors] == ["Hanging"]


def dying(content: bytes, path: Path) -> None:
    faulthandler.disable()  # pytest's would write a report among the dots of the tests
    os.abort()


def test_a_process_that_dies_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.TARGETS, "dying", Target(dying, st.just(b"")))  # type: ignore[index]
    assert list(fuzz.fuzz_apart("dying", 1.0, 0).errors) == ["the process died: exit -6"]


def test_an_engine_that_is_not_installed_is_one_line() -> None:
    with pytest.raises(SystemExit, match="no_such_engine: not installed; pip install"):
        fuzz.check_engine("no_such_engine")
    fuzz.check_engine("hypothesis")


def test_a_guided_program_that_dies_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.sys, "executable", "false")  # type: ignore[attr-defined]
    outcome = fuzz.fuzz_guided("COCO", 1.0, 0)
    assert (outcome.inputs, list(outcome.errors)) == (0, ["the process died: exit 1"])


def test_the_table_counts_all_inputs() -> None:
    outcomes = [fuzz.Outcome("a", 1000, 3, 2.0), fuzz.Outcome("b", 500, 0, 1.0, {"KeyError": "x"})]
    assert fuzz.table(outcomes).splitlines()[-1] == "| all | 1,500 |  | 3 | 1 |"
