"""What the rows say of each claim in plain words, for the page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.publishing import fill, markdown
from benchmarks.replication.beds import Bed
from benchmarks.replication.verdicts import Budget, Verdict

BEGIN = "<!-- replication: made by python -m benchmarks.replication report -->\n"
END = "<!-- /replication -->\n"
"""The lines between which the page's tables stand."""

Judged = Mapping[Budget, Sequence[Verdict]]
"""The verdicts on a bed's claims at both budgets, in the same order."""


def publish(page: Path, judged: Mapping[str, tuple[Bed, Judged]]) -> Path:
    """Write the tables of all beds with verdicts between the page's two lines."""
    texts = [
        f"**{name.capitalize()}**, {bed.steps} steps of {bed.prompts} prompts:\n\n{table}\n\n"
        for name, (bed, verdicts) in judged.items()
        if (table := of_bed(verdicts))
    ]
    return fill(page, BEGIN, END, "".join(texts) or "No claim has runs yet.\n")


def of_bed(judged: Judged) -> str:
    """Render a line for every claim with runs; "" without any."""
    pairs = zip(judged["sampling"], judged["compute"], strict=True)
    lines = [
        [sampling.claim.words, outcome(sampling), outcome(compute)]
        for sampling, compute in pairs
        if sampling.test is not None
    ]
    header = ("claim", "at equal sampling", "at equal compute")
    return markdown(header, lines) if lines else ""


def outcome(verdict: Verdict) -> str:
    """Return a verdict's word and its difference, such as "agrees: +10.6 points".

    Without a test, which at equal compute needs the times of both arms, it says so.
    """
    if verdict.test is None:
        return "times not measured"
    return f"**{verdict.word}**: {100 * verdict.test.mean:+.1f} points"
