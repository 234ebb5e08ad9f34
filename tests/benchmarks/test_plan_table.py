"""The table of docs/plan.md is the one that the plan makes."""

from __future__ import annotations

import warnings

import pytest

from benchmarks import plan_table


@pytest.mark.large
@pytest.mark.timeout(900)
def test_the_page_has_the_table_that_the_plan_makes_today() -> None:
    page = plan_table.PAGE.read_text(encoding="utf-8")
    for name in plan_table.MODELS:
        assert f"| {name.removeprefix('Qwen/')} |" in page
    with warnings.catch_warnings(action="ignore"):
        assert plan_table.written(page) == page
