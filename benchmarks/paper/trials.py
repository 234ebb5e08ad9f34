"""Trials, the single training runs behind a table, and the JSON files that keep their results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vrft.evaluation.settings_file import write_json

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Trial:
    """One training run with its evaluation: a configuration, settings laid over it, and a seed.

    ``arm`` is its line of the table, which all seeds share. If ``blanked``, the trained model also
    answers with grey pictures. ``asked`` are settings of the benchmark, such as "split=val".
    """

    arm: str
    config: str
    benchmark: str
    seed: int
    settings: tuple[str, ...] = ()
    blanked: bool = False
    asked: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return the trial's name among the results of one file, also its folder's path."""
        # an arm's settings are not in it: see Result.belongs_to
        return f"{self.arm}/seed-{self.seed}"


@dataclass(frozen=True)
class Result:
    """The measured outcome of a trial.

    Scores ``before`` and ``after`` training, and on ``blanked`` pictures, lie in [0, 1]; ``gain``
    is their difference paired by question, ``low`` to ``high`` its 95 % interval. ``epochs`` are
    passes over the prompts, groups that were drawn and dropped included; ``tokens`` counts the
    completions that were learnt from. The fields are the keys of the JSON files: renaming one
    orphans what is kept.
    """

    key: str
    arm: str
    seed: int
    config: str
    benchmark: str
    settings: tuple[str, ...]
    asked: tuple[str, ...]
    metric: str
    n: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    blanked: float | None
    epochs: float
    tokens: int
    seconds: float
    threads: int
    commit: str
    versions: Mapping[str, str]

    def belongs_to(self, trial: Trial) -> bool:
        """Check whether the trial that gave this result had the same settings."""
        measured = (self.config, self.benchmark, self.settings, self.asked)
        return measured == (trial.config, trial.benchmark, trial.settings, trial.asked)


def read_results(name: str) -> dict[str, Result]:
    """Return the results in results/NAME.json by their keys; none if there is no such file."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return {}
    results = {}
    for fields in json.loads(path.read_text(encoding="utf-8")):
        # JSON has lists only; tuples make a result comparable with a trial
        for field, value in fields.items():
            fields[field] = tuple(value) if isinstance(value, list) else value
        results[fields["key"]] = Result(**fields)
    return results


def write_results(name: str, results: Mapping[str, Result]) -> None:
    """Write results/NAME.json anew."""
    RESULTS.mkdir(exist_ok=True)
    write_json(
        RESULTS / f"{name}.json", [dataclasses.asdict(result) for result in results.values()]
    )


def by_arm(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Group results by arm, in the order in which the arms first appear."""
    arms: dict[str, list[Result]] = {}
    for result in results:
        arms.setdefault(result.arm, []).append(result)
    return arms
