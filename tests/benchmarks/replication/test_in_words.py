"""benchmarks/replication/in_words.py: the page says in words what the rows say, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.replication_rows import finals, measure

from benchmarks.replication import in_words, ledger, report
from benchmarks.replication.arms import CLAIMS

SCORES = [0.50, 0.51, 0.49, 0.52, 0.48]


@pytest.fixture
def page() -> Path:
    """Return the page of the documentation that a report fills."""
    return report.DOCS / "replication.md"


def test_a_claim_with_runs_has_its_word_and_difference_at_both_budgets(page: Path) -> None:
    # gpg takes twice the time: at grpo's it stood half-way, at (0.3 + 0.6) / 2 = 0.45
    for row in [*finals("grpo", SCORES), *finals("gpg", [s + 0.1 for s in SCORES], 120.0)]:
        ledger.append(row)
        measure(row)
    report.publish()
    text = page.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| GPG ends no lower")]
    assert line.startswith("| GPG ends no lower than GRPO | **agrees**: +10.0 points | **")
    assert line.endswith("-5.0 points |")
    assert "Alpha" not in text  # no runs of it
    assert text.startswith("# A page\n\n" + in_words.BEGIN) and text.endswith("The rest.\n")


def test_without_times_the_page_says_so(page: Path) -> None:
    for row in [*finals("grpo", SCORES), *finals("gpg", SCORES)]:
        ledger.append(row)
    report.publish()
    (line,) = [line for line in page.read_text().splitlines() if line.startswith("| GPG ends no")]
    assert line.endswith("+0.0 points | times not measured |")


def test_without_runs_the_page_says_so(page: Path) -> None:
    report.publish()
    assert "No claim has runs yet." in page.read_text(encoding="utf-8")


def test_every_claim_is_a_sentence_of_its_own() -> None:
    assert len({claim.words for claim in CLAIMS}) == len(CLAIMS)
