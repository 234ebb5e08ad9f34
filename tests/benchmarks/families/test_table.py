"""The page of the equality table: the largest distances, and where they were measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.families import __main__ as table
from benchmarks.families.equality import Distance, Row

ROWS = [
    Row(
        "qwen3",
        "Qwen3ForCausalLM",
        435_008,
        (Distance(False, False, 1.9e-6, 9e-7, True), Distance(True, True, 1e-6, 2.1e-6, True)),
    ),
    Row("qwen2", "Qwen2ForCausalLM", 386_176, (Distance(False, False, 1e-6, 1e-7, False),)),
]


def test_a_row_has_the_largest_distances_and_whether_all_completions_are_the_same() -> None:
    assert table.table(ROWS).splitlines()[2:] == [
        "| qwen3 | Qwen3ForCausalLM | 435,008 | 1.9e-06 | 2.1e-06 | yes |",
        "| qwen2 | Qwen2ForCausalLM | 386,176 | 1.0e-06 | 1.0e-07 | NO |",
    ]


def test_the_page_and_the_results_say_where_they_were_measured(tmp_path: Path) -> None:
    results, page = table.publish(ROWS, tmp_path)
    kept = json.loads(results.read_text())
    assert [family["family"] for family in kept["families"]] == ["qwen3", "qwen2"]
    assert kept["families"][0]["distances"][1]["gradient"] == 2.1e-6
    assert kept["measured"]["commit"] in page.read_text()
    assert table.table(ROWS) in page.read_text()


def test_the_table_that_is_kept_names_every_family_and_all_are_equal() -> None:
    from vrft.models.families import FAMILIES

    kept = json.loads((table.HERE / "results.json").read_text())["families"]
    assert [row["family"] for row in kept] == [*FAMILIES]
    for row in kept:
        distances = tuple(Distance(**distance) for distance in row["distances"])
        assert Row(row["family"], row["model"], row["parameters"], distances).equal, row["family"]
