"""The names of metrics and settings at a tracker that does not take every name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

LONGEST = 250
"""Characters of a name at MLflow."""


class TrackerNames:
    """The names that one tracker is given: ours where it takes them, and no two made one."""

    def __init__(self, tracker: str) -> None:
        self.tracker = tracker
        self.ours: dict[str, str] = {}  # by the name that the tracker has been given

    def of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the names that the tracker takes."""
        return {self.name(name): value for name, value in values.items()}

    def name(self, ours: str) -> str:
        """Return the name by which the tracker knows one of ours, always the same."""
        given = acceptable(self.tracker, ours)
        if self.ours.setdefault(given, ours) == ours:
            return given
        return f"{given[: LONGEST - 9]}_{digest(ours)}"


def acceptable(tracker: str, name: str) -> str:
    """Return a name as a tracker takes it, such as eval_acc_at_0.5 of eval_acc@0.5 at MLflow.

    MLflow and DVCLive keep a file for each metric: no part of its path may be empty or of dots
    alone. MLflow refuses most signs besides, and long names.
    """
    if tracker not in ("mlflow", "dvclive"):
        return name
    parts = [part if part.strip(".") else "_" * max(len(part), 1) for part in name.split("/")]
    made = "/".join(parts)
    if tracker == "dvclive":
        return made
    # A colon is for some versions and systems alone, letters beyond ASCII not for every server.
    made = re.sub(r"[^\w./ -]", "_", made.replace("@", "_at_"), flags=re.ASCII)
    made = f"_{made}" if made.startswith("..") else made
    return made if len(made) <= LONGEST else f"{made[: LONGEST - 9]}_{digest(name)}"


def digest(name: str) -> str:
    """Return eight signs that tell a name from others."""
    return hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:8]
