"""Questions to math-verify within their limits of time and length."""

from collections.abc import Iterator

import pytest

from vrft import mathverify
from vrft.mathverify import equivalent, verdicts, worker
from vrft.mathverify.worker import Worker

FOREVER = "9^{9^{9^{9}}}"
"""Nothing that sympy would ever finish computing."""


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """Close the workers: none outlives this file."""
    yield
    mathverify.close()


@pytest.fixture
def only() -> Worker:
    """Return the only worker, with no verdict remembered."""
    mathverify.close()
    verdicts.forget()
    assert equivalent("1", "1") is True
    (one,) = worker.idle
    return one


def test_an_endless_answer_is_wrong_and_the_next_one_is_judged_as_ever(only: Worker) -> None:
    assert equivalent("10", FOREVER, seconds=0.3) is False
    assert not only.alive and worker.idle == []
    assert equivalent("10", "10") is True


def test_an_endless_answer_that_equals_the_gold_one_by_sight_is_right() -> None:
    assert equivalent(FOREVER, FOREVER) is True


def test_a_gold_answer_that_takes_too_long_to_read_is_unreadable() -> None:
    assert equivalent("(" * 400 + "10" + ")" * 400, "10", seconds=0.3) is None
    assert equivalent("2", "2") is True


@pytest.mark.parametrize("output", ["x" * 1_000_000, "(" * 1_000_000, r"\boxed{1} " * 100_000])
def test_a_megabyte_ends_within_the_limit(output: str) -> None:
    assert equivalent("7", output, "lighteval", seconds=1.0) is False
    assert equivalent("7", "7") is True
