"""Many answers at once: each pair is compared once, within a budget of processor time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from vrft import mathverify
from vrft.mathverify import budget, each, equivalent, remembered, verdicts
from vrft.mathverify.worker import Verdict


class Slow:
    """Workers that find every answer right, and each comparison of 5 seconds of processor time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = self.most = 0
        self.lock = threading.Lock()

    def ask(self, seconds: float, *, gold: str, answer: str, **rule: Any) -> Verdict:
        with self.lock:
            self.asked.append(answer)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.01)
        with self.lock:
            self.at_once -= 1
        return Verdict(True, 5.0)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Let four slow workers judge, which have judged one answer already."""
    made = Slow()
    monkeypatch.setattr(verdicts.worker, "ask", made.ask)
    monkeypatch.setattr(verdicts, "workers", lambda: 4)
    verdicts.forget()
    equivalent("gold", "tried at the start")
    made.asked.clear()
    yield made
    verdicts.forget()


def judged(answers: list[str]) -> list[bool | None]:
    return each(lambda answer: equivalent("gold", answer), answers)


ANSWERS = [f"answer {number}" for number in range(128)]


def test_a_hundred_slow_answers_end_within_the_budget_and_the_rest_are_wrong(slow: Slow) -> None:
    with budget(120.0) as spent:
        values = judged(ANSWERS)
    # 24 comparisons of 5 seconds are 120: six rounds of four, the seventh is not begun.
    assert values == [True] * 24 + [False] * 104
    assert sorted(slow.asked) == sorted(ANSWERS[:24])
    assert (spent.spent, spent.over) == (120.0, 104)
    assert slow.most == 4


def test_several_groups_share_one_budget(slow: Slow) -> None:
    with budget(30.0) as spent:
        first, second = judged(ANSWERS[:4]), judged(ANSWERS[4:12])
    # 20 seconds, then a round that passes 30 and is the last.
    assert (first, second) == ([True] * 4, [True] * 4 + [False] * 4)
    assert (spent.spent, spent.over) == (40.0, 4)


def test_without_a_budget_all_are_compared_several_at_once(slow: Slow) -> None:
    assert judged(ANSWERS) == [True] * 128
    assert 1 < slow.most <= 4
    with budget(0.0) as spent:  # 0 is no limit
        assert judged([*ANSWERS, "another"]) == [True] * 129
    assert spent.over == 0


def test_an_answer_is_compared_once_for_reward_and_score_also_at_the_same_time(slow: Slow) -> None:
    with budget(120.0) as spent:
        assert judged(["same"] * 8) == [True] * 8
        assert equivalent("gold", "same") is True
    assert slow.asked == ["same"] and spent.spent == 5.0
    assert equivalent("gold", "same", "lighteval") is True  # another rule is another question
    assert len(slow.asked) == 2


def test_what_was_counted_before_is_no_part_of_what_is_over(slow: Slow) -> None:
    with budget(5.0) as spent:
        assert judged(["a"]) == [True]
        assert judged(["a", "b"]) == [True, False]
    assert spent.over == 1


def test_remembered_verdicts_alone_are_given_where_nobody_is_asked(slow: Slow) -> None:
    judged(["a"])
    with remembered() as left:
        assert (equivalent("gold", "a"), equivalent("gold", "b")) == (True, False)
    assert slow.asked == ["a"] and left.over == 1
    assert equivalent("gold", "b") is True  # it was not remembered as wrong


def test_an_error_of_a_worker_reaches_all_who_wait_and_is_not_remembered(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seconds: float, **request: Any) -> Verdict:
        raise RuntimeError("did not start")

    monkeypatch.setattr(verdicts.worker, "ask", fail)
    with pytest.raises(RuntimeError, match="did not start"):
        judged(["x", "x"])
    monkeypatch.setattr(verdicts.worker, "ask", slow.ask)
    assert judged(["x"]) == [True]


def test_the_oldest_verdicts_are_forgotten(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "REMEMBERED", 2)
    for answer in ("a", "b", "c"):
        equivalent("gold", answer)
    equivalent("gold", "c")
    equivalent("gold", "a")
    assert slow.asked == ["a", "b", "c", "a"]


def test_a_function_that_asks_nothing_is_called_in_this_thread() -> None:
    verdicts.forget()
    threads = each(lambda item: threading.current_thread(), [1, 2, 3])
    assert set(threads) == {threading.main_thread()}


def test_results_stand_in_the_order_of_the_items(slow: Slow) -> None:
    def late(item: int) -> int:
        time.sleep(0.02 / (1 + item))
        return item

    assert each(late, range(9)) == list(range(9))


def test_real_workers_judge_at_once_and_end_at_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "workers", lambda: 2)
    verdicts.forget()
    answers = ["2", *(f"9^{{9^{{9^{{{n}}}}}}}" for n in range(5, 9))]
    with budget(0.5) as spent:
        values = each(lambda answer: equivalent("2", answer, seconds=0.3), answers)
    mathverify.close()
    # The first alone; then a round of two that takes 0.3 seconds each; none of the last two.
    assert values == [True, False, False, False, False]
    assert spent.over == 2 and 0.6 <= spent.spent < 1.2


@pytest.mark.parametrize(
    ("cores", "beside", "expected"), [(2, "1", 2), (64, "1", 4), (16, "8", 2), (4, "8", 1)]
)
def test_workers_are_a_share_of_the_cores(
    cores: int, beside: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts.os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", beside)
    assert verdicts.workers() == expected
