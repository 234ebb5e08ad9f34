"""Alarms of canaries and watchdogs, and the file of a run's folder in which they stand."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vrft.errors import UserError
from vrft.runs.run_log import WARNINGS


@dataclass(frozen=True, slots=True)
class Alarm:
    """A sign that a run goes wrong: what it means and what to turn, in one line.

    A ``fatal`` one ends the run also where ``train.strict`` is off.
    """

    name: str
    text: str
    fatal: bool = False


def append(folder: Path, step: int, alarms: Sequence[Alarm]) -> None:
    """Write alarms to the run's folder as of ``step``, 0 being before the first update."""
    if not alarms:
        return
    with (folder / WARNINGS).open("a", encoding="utf-8") as file:
        for alarm in alarms:
            row = {"step": step, "name": alarm.name, "text": alarm.text}
            file.write(json.dumps(row, ensure_ascii=True) + "\n")


def warn(alarms: Sequence[Alarm], *, strict: bool) -> None:
    """Print the alarms that do not end the run."""
    for alarm in alarms:
        if not alarm.fatal and not strict:
            print(f"warning: {alarm.name}: {alarm.text}", file=sys.stderr)


def stop(step: int, alarms: Sequence[Alarm], *, strict: bool) -> None:
    """Raise UserError with the first alarm that ends the run: a fatal one, any where ``strict``."""
    ending = [alarm for alarm in alarms if alarm.fatal or strict]
    if not ending:
        return
    # A fatal one says more than those that are errors only because somebody asked for it.
    alarm = max(ending, key=lambda alarm: alarm.fatal)
    when = f"step {step}" if step else "before the first update"
    hint = "" if alarm.fatal else " (train.strict=true makes an error of it)"
    raise UserError(f"{when}: {alarm.name}: {alarm.text}{hint}")
