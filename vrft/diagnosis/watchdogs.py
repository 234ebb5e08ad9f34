"""Watchdogs: what the metrics of some steps say of a run, in words, each once.

A watchdog is a pure function of the run's first rows and its newest ones, a row being the metrics
of a step that are watched. ``Watchdogs`` holds no more rows than the longest of them looks at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.coordinates import FRAMES, METRIC, READ
from vrft.rewards.metric_names import rewards_form

Row = Mapping[str, float]
"""The watched metrics of a step that are finite."""

EARLY = 10
"""Steps at the start of a run with which the newest are compared."""

WATCHED = (
    *("reward", "frac_without_signal", "frac_reward_zero_std", "entropy", "surprisal"),
    *("completions/clipped_ratio", "completions/mean_length", "completions/duplicates"),
)
"""Metrics that a row holds, beside the means of rewards and those of coordinates."""


@dataclass(frozen=True)
class Watchdog:
    """A name, the newest steps that are looked at, and the look: what is wrong, or None."""

    name: str
    steps: int
    look: Callable[[Sequence[Row], Sequence[Row]], str | None]


def column(rows: Sequence[Row], *names: str) -> list[float]:
    """Return the values of the first of the metrics that any row has, of the rows that have it."""
    for name in names:
        if values := [row[name] for row in rows if name in row]:
            return values
    return []


def halves(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the means of both halves, and the standard error of their difference."""
    middle = len(values) // 2
    first, second = values[:middle], values[middle:]
    before, after = fmean(first), fmean(second)
    error = math.sqrt(spread(first, before) / len(first) + spread(second, after) / len(second))
    return before, after, error


def spread(values: Sequence[float], mean: float) -> float:
    """Return the variance of values around their mean."""
    return fmean((value - mean) ** 2 for value in values)


def reward_means(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Return reward -> its means over the steps, of rewards that every row has."""
    names = [name for name in rows[-1] if name.startswith("rewards/")]
    by_name = {name.split("/")[1]: column(rows, name) for name in names}
    return {name: values for name, values in by_name.items() if len(values) == len(rows)}


# --- the looks


def no_rewards(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that no reward has applied to any answer."""
    if any(name.startswith("rewards/") for row in rows for name in row):
        return None
    return (
        f"no reward applied to any answer of the last {len(rows)} steps: all are None, or missing "
        "by algorithm.missing_rewards=none; mend the rewards, which teach nothing so"
    )


def no_signal(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that no group had answers of different rewards, or of others than it is compared with."""
    shares = column(rows, "frac_without_signal", "frac_reward_zero_std")
    if len(shares) < len(rows) or min(shares) < 1:
        return None
    reward = fmean(column(rows, "reward"))
    return (
        f"no group of the last {len(rows)} steps had answers of different rewards (mean reward "
        f"{reward:.3g}), so that nothing was learnt; where all are wrong or unreadable, take "
        "easier data, a model that knows the form, or more algorithm.num_generations; where all "
        "are right, harder data (`vrft data filter --by difficulty`)"
    )


def rewards_flat(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that the mean reward has not risen by more than its noise."""
    before, after, error = halves(column(rows, "reward"))
    if after - before > error:
        return None
    return (
        f"the mean reward has not risen in {len(rows)} steps ({before:.3g}, then {after:.3g}); "
        "evaluate: all may be learnt that can be; else raise train.learning_rate, "
        "algorithm.num_generations or the prompts of a step"
    )


def reward_fell(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that the mean reward is less than half of what it has been."""
    values = column(rows, "reward")
    size = len(values) // 3
    starts = range(len(values) - size)
    high = max((values[at : at + size] for at in starts), key=fmean)
    best, newest = fmean(high), fmean(values[-size:])
    error = math.sqrt((spread(high, best) + spread(values[-size:], newest)) / size)
    # The best of many windows is high by chance: noise alone must not explain the fall.
    if best <= 0 or newest >= best / 2 or best - newest < 4 * error:
        return None
    return (
        f"the mean reward has fallen from {best:.3g} to {newest:.3g}: the policy breaks; go on "
        "from an earlier checkpoint with a lower train.learning_rate, or with algorithm.beta"
    )


def all_cut(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that every answer was cut at the limit."""
    shares = column(rows, "completions/clipped_ratio")
    if len(shares) < len(rows) or min(shares) < 1:
        return None
    return (
        f"all answers of the last {len(rows)} steps were cut at sampling.max_completion_length, "
        "so that their ends earn nothing; raise it, or look whether generation_config.json names "
        "the token with which the model ends its turns"
    )


def entropy_collapsed(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that the policy has become nearly certain of every token."""
    names = ("entropy", "surprisal")
    first, newest = column(early, *names), column(rows, *names)
    if len(newest) < 3 or not first:  # steps without any signal have no such metric
        return None
    before, after = fmean(first), fmean(newest)
    if after >= 0.1 or after >= before / 10:
        return None
    return (
        f"the answers have become nearly certain ({before:.2g} nats a token at first, {after:.2g} "
        "now): groups will be alike and teach nothing; lower train.learning_rate, raise "
        "sampling.temperature or algorithm.beta, or stop here"
    )


def lengths_explode(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that answers are three times as long as they were."""
    first, newest = (column(some, "completions/mean_length") for some in (early, rows))
    if not first or not newest or fmean(newest) < 3 * fmean(first):
        return None
    return (
        f"answers have grown from {fmean(first):.0f} to {fmean(newest):.0f} tokens: length may "
        "earn what the answer does not; look at completions/, set algorithm.overlong_cache, or a "
        "token mean that does not favour long answers (algorithm.token_mean)"
    )


def format_only(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that only rewards of the form rise."""
    rises = {name: halves(values) for name, values in reward_means(rows).items()}
    forms = [name for name in rises if rewards_form(name)]
    others = [name for name in rises if name not in forms]
    rising = [name for name in forms if rises[name][1] - rises[name][0] >= 0.1]
    if not rising or not others:
        return None
    if any(rises[name][1] - rises[name][0] > rises[name][2] for name in others):
        return None
    before, after, _ = rises[rising[0]]
    return (
        f"over {len(rows)} steps reward {rising[0]} rose from {before:.2g} to {after:.2g}, and "
        f"{', '.join(others)} did not: the policy learns the form alone; lower "
        f"algorithm.reward_weights.{rising[0]}, or look whether right answers are read"
    )


def answers_repeat(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that the answers of a group are nearly all the same."""
    shares = column(rows, "completions/duplicates")
    if len(shares) < len(rows) or fmean(shares) < 0.9:
        return None
    return (
        f"{fmean(shares):.0%} of the answers to a prompt repeat another one (last {len(rows)} "
        "steps), and cost compute without teaching; raise sampling.temperature, take "
        "sampling.top_p and top_k out, or lower algorithm.num_generations"
    )


def other_frame(early: Sequence[Row], rows: Sequence[Row]) -> str | None:
    """Say that boxes read in another frame would fit the truth far better."""
    read = column(rows, METRIC + READ)
    if len(read) < len(rows) // 2:
        return None
    means = {name: fmean(column(rows, METRIC + name) or [0.0]) for name in FRAMES}
    best = max(means, key=lambda name: means[name])
    if means[best] < max(2 * fmean(read), fmean(read) + 0.1):
        return None
    return (
        f"boxes would overlap the true ones by {means[best]:.2g} instead of {fmean(read):.2g} if "
        f"they were read as {FRAMES[best]}"
    )


WATCHDOGS = (
    Watchdog("no_rewards", 3, no_rewards),
    Watchdog("no_signal", 10, no_signal),
    Watchdog("all_cut", 5, all_cut),
    Watchdog("answers_repeat", 10, answers_repeat),
    Watchdog("other_frame", 10, other_frame),
    Watchdog("entropy_collapsed", 10, entropy_collapsed),
    Watchdog("lengths_explode", 10, lengths_explode),
    Watchdog("format_only", 50, format_only),
    Watchdog("reward_fell", 60, reward_fell),
    Watchdog("rewards_flat", 200, rewards_flat),
)
"""All watchdogs; the longest look decides how many rows are held."""

LONGEST = max(watchdog.steps for watchdog in WATCHDOGS)


@dataclass
class Watchdogs:
    """The rows that watchdogs look at, and how often each has held: name -> steps.

    ``early`` are the first rows of the run, ``recent`` the newest. What has been said once stands
    in ``counts``, and is not said again.
    """

    early: list[Row] = field(default_factory=list)
    recent: deque[Row] = field(default_factory=lambda: deque(maxlen=LONGEST))
    counts: dict[str, int] = field(default_factory=dict)

    def after(self, metrics: Mapping[str, float]) -> list[Alarm]:
        """Take over the metrics of a step, and return the alarms that are new."""
        row = watched_row(metrics)
        self.recent.append(row)
        if len(self.early) < EARLY:
            self.early.append(row)
        rows, fresh = list(self.recent), []
        for watchdog in WATCHDOGS:
            if len(rows) < watchdog.steps:
                continue
            text = watchdog.look(self.early, rows[-watchdog.steps :])
            if text is None:
                continue
            if watchdog.name not in self.counts:
                fresh.append(Alarm(watchdog.name, text))
            self.counts[watchdog.name] = self.counts.get(watchdog.name, 0) + 1
        return fresh

    def metrics(self) -> dict[str, float]:
        """Return warnings/NAME: the steps after which each watchdog has held so far."""
        return {f"warnings/{name}": float(count) for name, count in self.counts.items()}

    def state(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {"early": self.early, "recent": list(self.recent), "counts": self.counts}

    def restore(self, state: Any) -> None:
        """Take over a ``state``; ValueError for anything else."""
        try:
            rows = [[as_row(row) for row in state[name]] for name in ("early", "recent")]
            counts = {str(name): int(count) for name, count in state["counts"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of watchdogs: {error}") from error
        self.early, self.counts = rows[0][:EARLY], counts
        self.recent = deque(rows[1], maxlen=LONGEST)


def as_row(row: Mapping[str, Any]) -> Row:
    """Return a row of a state, each value a number."""
    return {str(name): float(value) for name, value in row.items()}


def watched_row(metrics: Mapping[str, float]) -> Row:
    """Return the metrics that watchdogs look at, without values that are not finite."""
    return {
        name: value
        for name, value in metrics.items()
        if (
            name in WATCHED
            or name.startswith(METRIC)
            or (name.startswith("rewards/") and name.endswith("/mean"))
        )
        and math.isfinite(value)
    }
