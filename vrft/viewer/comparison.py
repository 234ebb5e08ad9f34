"""The view of two evaluations of the same samples, and which of several evaluations it can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.columns import counted
from vrft.viewer.answers import AnswersView


class ComparisonView:
    """Two evaluations side by side, on the answers that both have.

    Document: ``pairs``, the places in the two tables of answers to the same question.
    """

    def __init__(self, before: AnswersView, after: AnswersView, ids: tuple[str, str]) -> None:
        self.before, self.after, self.ids = before, after, ids

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Return the places (before, after) of every answer that both have, in the old order."""
        places = {key: place for place, key in enumerate(self.after.answered)}
        return [
            (place, places[key]) for place, key in enumerate(self.before.answered) if key in places
        ]

    @cached_property
    def metrics(self) -> list[str]:
        """Return the metrics that both evaluations have."""
        known = self.after.entry["metrics"]
        return [name for name in self.before.entry["metrics"] if name in known]

    @cached_property
    def entry(self) -> dict[str, Any]:
        """Return title, short names, metrics, and a note on samples and answers that one lacks."""
        primary = self.before.entry["primary"]
        return {
            "kind": "comparison",
            "title": f"{self.before.title} → {self.after.title}",
            "before": self.ids[0],
            "after": self.ids[1],
            "metrics": self.metrics,
            "primary": primary if primary in self.metrics else self.metrics[0],
            "note": "; ".join(self.notes),
        }

    @property
    def notes(self) -> list[str]:
        """Return what limits the comparison: answers that only one has, and missing ones."""
        counts, notes = [len(view.answered) for view in (self.before, self.after)], []
        if {*counts} != {len(self.pairs)}:
            both = f"on the {len(self.pairs):,} answers that both have"
            notes.append(f"{both}, of {counts[0]:,} and {counts[1]:,}")
        for view in (self.before, self.after):
            if missing := view.evaluation.report.missing:
                lacking = f"{view.title} lacks answers to {counted(missing, 'sample')}"
                notes.append(f"{lacking}, which count as wrong")
        return notes

    def documents(self) -> Iterable[str]:
        """Return "pairs"."""
        return ["pairs"]

    def document(self, name: str) -> Any:
        """Return the pairs, None where both tables have the same order; KeyError otherwise."""
        if name != "pairs":
            raise KeyError(name)
        same = len(self.before.answered) == len(self.after.answered) == len(self.pairs)
        return None if same and all(old == new for old, new in self.pairs) else self.pairs

    def pictures(self) -> Iterable[str]:
        """Return nothing: the pictures are those of the evaluations."""
        return []

    def picture(self, name: str) -> Path | Image.Image:
        """Raise KeyError, as there are none."""
        raise KeyError(name)


def comparisons(evaluations: Mapping[str, AnswersView]) -> dict[str, ComparisonView]:
    """Return the comparison of each two evaluations with answers and metrics in common.

    ``evaluations`` have names such as "e0" and "e1", whose comparison is then "c0-1".
    """
    pairs = {
        f"c{old[1:]}-{new[1:]}": ComparisonView(evaluations[old], evaluations[new], (old, new))
        for old, new in combinations(evaluations, 2)
    }
    return {id: view for id, view in pairs.items() if view.pairs and view.metrics}
