"""benchmarks/speed/few_rows.py: ways are measured on the same numbers; the page is theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from benchmarks.speed import few_rows
from benchmarks.speed.shapes import SHAPES
from vrft.policy import onednn

CASES: dict[str, dict[str, Any]] = {
    "steps": {"dtype": "float32", "rows": 4, "bytes": 6.2e9, "read": 300, "torch": 900,
              "ours": 510},
    "products": {"dtype": "float32", "weight": [8960, 1536], "rows": 4, "read": 2.5, "torch": 10.0,
                 "in place": 5.0, "copied": 3.75},
    "joins": {"shape": "2b", "rows": 4, "qkv": {"apart": 0.9, "joined": 0.6},
              "gate and up": {"apart": 5.4, "joined": 5.2}},
}  # fmt: skip


def test_times_stand_beside_that_of_reading_the_weights() -> None:
    where = {"commit": "abc1234", "versions": {"torch": "2.13.0"}, "processor": "AMD EPYC"}
    measured = {part: {"cases": [case]} | where for part, case in CASES.items()}
    lines = few_rows.page(measured).splitlines()
    assert lines.count("Commit abc1234; torch 2.13.0; AMD EPYC.") == len(few_rows.PARTS)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines
            if line.startswith("|") and " 4 " in line]  # fmt: skip
    assert rows == [
        ["float32", "4", "300", "900 (3.0)", "510 (1.7)"],
        ["float32", "8960 x 1536", "4", "2.50", "10.00 (4.0)", "5.00 (2.0)", "3.75 (1.5)"],
        ["2b", "4", "900", "600", "5400", "5200"],
    ]


@pytest.mark.skipif(not onednn.reads_in_place(torch.float32), reason="needs oneDNN on x86")
@torch.no_grad()
def test_all_ways_give_the_same_numbers() -> None:
    torch.manual_seed(0)
    weight, hidden = torch.randn(64, 32), torch.randn(12, 32)
    copy = onednn.packed_product(weight, None, torch.float32)
    ways = few_rows.product_ways([weight], [copy], hidden)
    assert set(ways) == {"read", *few_rows.WAYS}
    assert ways["read"]() == weight.sum()
    for way in few_rows.WAYS:
        torch.testing.assert_close(ways[way](), hidden @ weight.T)


def test_a_model_of_the_shape_decodes_by_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_rows, "PRECISIONS", {"float32": torch.float32})
    (case,) = few_rows.decode_steps(SHAPES["test"], (2,))
    assert set(case) == {"dtype", "rows", "bytes", "read", "torch", "ours"}
    # 2 layers and the embedding of 1,024 entries, 64 wide: more than those entries alone
    assert case["bytes"] > 4 * 1024 * 64


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    measured = json.loads(few_rows.RESULTS.read_text(encoding="utf-8"))
    cases = {(case["dtype"], case["rows"]) for case in measured["steps"]["cases"]}
    assert cases == {(name, rows) for name in few_rows.PRECISIONS for rows in few_rows.STEPS}
    assert few_rows.PAGE.read_text(encoding="utf-8") == few_rows.page(measured)


def test_a_part_of_another_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert few_rows.main(["step"]) == 2
    assert "no part is named 'step'" in capsys.readouterr().err
