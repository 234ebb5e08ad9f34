"""Watchdogs: each holds where it should, is silent beside it, and speaks once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from vrft.diagnosis import watchdogs
from vrft.diagnosis.coordinates import METRIC
from vrft.diagnosis.watchdogs import LONGEST, WATCHDOGS, Watchdogs

NOISE = random.Random(0)

HEALTHY = {
    "reward": 0.5,
    "frac_reward_zero_std": 0.4,
    "surprisal": 0.6,
    "completions/clipped_ratio": 0.1,
    "completions/mean_length": 40.0,
    "completions/duplicates": 0.2,
    "rewards/accuracy/mean": 0.4,
    "rewards/format/mean": 0.9,
    METRIC + "read": 0.4,
    METRIC + "thousandths": 0.4,
    METRIC + "pixels": 0.1,
}


def steps(count: int, **changed: Callable[[float], float] | float) -> list[dict[str, float]]:
    """Rows of a healthy run whose reward rises, with some metrics as functions of time in [0, 1].

    "__" in a name stands for "/".
    """
    rows = []
    for step in range(count):
        time = step / max(count - 1, 1)
        row = {**HEALTHY, "reward": 0.3 + 0.4 * time, "rewards/accuracy/mean": 0.2 + 0.4 * time}
        for name, value in changed.items():
            row[name.replace("__", "/")] = value(time) if callable(value) else value
        rows.append(row)
    return rows


def names_of(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """The watchdogs that speak while a run goes through some rows."""
    watch = Watchdogs()
    return [alarm.name for row in rows for alarm in watch.after(row)]


WRONG: dict[str, list[dict[str, float]]] = {
    "no_rewards": [
        {k: v for k, v in row.items() if not k.startswith("rewards/")} for row in steps(3)
    ],
    "no_signal": steps(10, frac_reward_zero_std=1.0),
    "all_cut": steps(5, completions__clipped_ratio=1.0),
    "answers_repeat": steps(10, completions__duplicates=0.95),
    "other_frame": steps(10, **{METRIC + "read": 0.05, METRIC + "pixels": 0.6}),
    "entropy_collapsed": steps(40, surprisal=lambda t: 0.5 if t < 0.5 else 0.04),
    "lengths_explode": steps(40, completions__mean_length=lambda t: 40 + 200 * t),
    "format_only": steps(50, rewards__format__mean=lambda t: t, rewards__accuracy__mean=0.1),
    "reward_fell": steps(60, reward=lambda t: 0.6 if t < 0.6 else 0.1),
    "rewards_flat": steps(200, reward=0.5),
}
"""Watchdog -> the rows of a run that goes wrong in its way."""

BESIDE: dict[str, list[dict[str, float]]] = {
    "no_rewards": steps(3, rewards__format__mean=float("nan")),  # the other one applies
    "no_signal": steps(10, frac_reward_zero_std=lambda t: 1.0 if t < 1 else 0.9),
    "all_cut": steps(5, completions__clipped_ratio=lambda t: 1.0 if t else 0.99),
    "answers_repeat": steps(10, completions__duplicates=0.85),
    # twice as good, but of next to nothing
    "other_frame": steps(
        10, **{METRIC + "read": 0.02, METRIC + "thousandths": 0.02, METRIC + "pixels": 0.08}
    ),
    # a model that was certain from the start, as the demo's
    "entropy_collapsed": steps(40, surprisal=0.04),
    "lengths_explode": steps(40, completions__mean_length=lambda t: 40 + 60 * t),
    "format_only": steps(
        50, rewards__format__mean=lambda t: t, rewards__accuracy__mean=lambda t: 0.1 + t / 10
    ),
    "reward_fell": steps(60, reward=lambda t: 0.6 if t < 0.6 else 0.4),
    "rewards_flat": steps(200, reward=lambda t: 0.5 + 0.05 * t + NOISE.gauss(0, 0.02)),
}
"""Watchdog -> rows that are near to wrong and are not."""


def test_every_watchdog_is_provoked_and_none_speaks_of_a_healthy_run() -> None:
    assert WRONG.keys() == BESIDE.keys() == {watchdog.name for watchdog in WATCHDOGS}
    assert names_of(steps(2 * LONGEST)) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_watchdog_speaks_once_of_what_it_is_for(name: str) -> None:
    rows = WRONG[name]
    assert names_of(rows).count(name) == 1
    assert names_of([*rows, *rows]).count(name) == 1  # not again
    watch = Watchdogs()
    (alarm,) = [one for row in rows for one in watch.after(row) if one.name == name]
    assert "\n" not in alarm.text and not alarm.fatal
    assert watch.metrics()[f"warnings/{name}"] >= 1


@pytest.mark.parametrize("name", BESIDE)
def test_a_watchdog_is_silent_beside_what_it_is_for(name: str) -> None:
    assert name not in names_of(BESIDE[name])


def test_groups_of_equal_rewards_that_are_compared_with_more_than_each_other_have_signal() -> None:
    assert names_of(steps(10, frac_reward_zero_std=1.0, frac_without_signal=0.9)) == []
    assert names_of(steps(10, frac_without_signal=1.0)) == ["no_signal"]


@pytest.mark.parametrize("name", WRONG)
def test_a_watchdog_waits_for_its_steps(name: str) -> None:
    (watchdog,) = [watchdog for watchdog in WATCHDOGS if watchdog.name == name]
    assert name not in names_of(WRONG[name][: watchdog.steps - 1])


def test_metrics_that_a_run_does_not_have_hold_no_watchdog() -> None:
    bare = [{"reward": 0.3 + step / 100, "rewards/r/mean": 0.3} for step in range(LONGEST)]
    assert names_of(bare) == []


def test_the_watch_holds_a_bounded_number_of_rows_and_only_what_it_looks_at() -> None:
    watch = Watchdogs()
    for row in steps(3 * LONGEST):
        watch.after({**row, "grad_norm": 1.0, "loss": float("nan")})
    assert len(watch.recent) == LONGEST and len(watch.early) == watchdogs.EARLY
    assert set(watch.recent[0]) == set(HEALTHY)


@pytest.mark.parametrize("cut", [1, 9, 12, 155, 200])
def test_a_watch_goes_on_from_its_state_as_if_it_had_never_stopped(cut: int) -> None:
    rows = steps(230, frac_reward_zero_std=1.0, reward=0.1)
    whole, before, after = Watchdogs(), Watchdogs(), Watchdogs()
    said = [[one.name for one in whole.after(row)] for row in rows]
    first = [[one.name for one in before.after(row)] for row in rows[:cut]]
    after.restore(json.loads(json.dumps(before.state())))
    second = [[one.name for one in after.after(row)] for row in rows[cut:]]
    assert first + second == said
    assert [name for names in said for name in names] == ["no_signal", "rewards_flat"]
    assert after.state() == whole.state()


@pytest.mark.parametrize(
    "state",
    [
        *([], None, {}, {"early": [], "recent": []}, {"early": 3, "recent": [], "counts": {}}),
        {"early": [], "recent": [{"reward": "high"}], "counts": {}},
        {"early": [], "recent": [], "counts": {"a": "b"}},
    ],
)
def test_a_state_of_another_form_is_refused(state: Any) -> None:
    with pytest.raises(ValueError):
        Watchdogs().restore(state)
