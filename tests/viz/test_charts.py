"""Curves of runs: where lines run, what is left out, and what is refused."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vrft import viz
from vrft.errors import UserError
from vrft.viz import charts

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Measures:
    """A run that is nothing but its metrics."""

    metrics: Sequence[Mapping[str, Any]]
    folder: Path | None = None


def run(rewards: Sequence[float | None], folder: str = "run") -> Measures:
    rows = [{"step": step, "reward": value} for step, value in enumerate(rewards, start=1)]
    return Measures(rows, Path("runs") / folder)


def lines(shown: viz.Curves) -> list[list[tuple[float, float]]]:
    """Return the places of all lines in pixels."""
    tree = ElementTree.fromstring(shown._repr_html_())
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.attrib["points"].split())
        ]
        for line in tree.iter(f"{SVG}polyline")
    ]


def test_a_line_goes_from_the_first_step_to_the_last() -> None:
    (line,) = lines(viz.curves(run([0.0, 0.5, 1.0])))
    # 52 pixels are left free at the left and 10 at the right of 460.
    assert [x for x, _ in line] == [52.0, 251.0, 450.0]
    # The axis goes 5 % beyond the values, from -0.05 to 1.05: 130 pixels / 1.1 for each unit.
    assert [y for _, y in line] == pytest.approx([150.1, 91.0, 31.9], abs=0.06)


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, "text"])
def test_a_step_without_a_finite_value_is_a_gap(gap: Any) -> None:
    first, second = lines(viz.curves(run([0.0, 0.5, gap, 1.0, 0.5])))
    assert [x for x, _ in first] == [52.0, 151.5] and [x for x, _ in second] == [350.5, 450.0]


def test_the_rows_of_one_step_are_one_and_a_step_without_the_metric_is_no_gap() -> None:
    # as fine-tuning writes them: the evaluation of a step before its loss, the account at the end
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "eval_accuracy": 0.25},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": 1.0},
        {"step": 4, "eval_accuracy": 0.75},
        {"step": 4, "loss": 0.5},
        {"step": 4, "train_loss": 1.6},
    ]
    shown = viz.curves(Measures(rows), metrics=["eval_accuracy", "loss"])
    accuracy, loss = (chart.lines["run 1"] for chart in shown.charts)
    assert accuracy == {2: 0.25, 4: 0.75} and loss == {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.5}
    assert len(lines(shown)) == 2  # neither is cut into pieces


def test_a_run_of_one_step_is_seen() -> None:
    (line,) = lines(viz.curves(run([0.5])))
    assert len(line) == 2


def test_a_metric_without_any_value_says_so() -> None:
    shown = viz.curves(run([None, None]))
    assert "no finite value" in shown._repr_html_() and lines(shown) == []


def test_several_runs_have_lines_and_names_of_their_own() -> None:
    shown = viz.curves(run([0, 1], "<a>"), {"GPG": run([1, 0]), "GRPO": run([0, 0])})
    html = shown._repr_html_()
    texts = [text.text for text in ElementTree.fromstring(html).iter(f"{SVG}text")]
    assert {"<a>", "GPG", "GRPO"} <= set(texts) and "<a>" not in html
    styles = re.findall(
        r'stroke="(#[0-9a-f]{6})" stroke-width="1.6" stroke-dasharray="([^"]*)"', html
    )
    assert len(set(styles)) == len({colour for colour, _ in styles}) == 3
    assert len({dash for _, dash in styles}) == 3  # who sees no colours tells them apart too


def test_runs_of_the_same_name_are_both_drawn() -> None:
    assert len(lines(viz.curves(run([0, 1], "same"), run([1, 0], "same")))) == 2


def test_a_long_run_stays_small_and_keeps_its_extremes() -> None:
    values: list[float | None] = [math.sin(k / 50) for k in range(100_000)]
    values[54_321], values[65_432] = 9.0, -9.0
    (line,) = lines(viz.curves(run(values)))
    assert len(line) <= 4 * 400
    heights = [y for _, y in line]
    # The axis goes from -9.9 to 9.9: 130 pixels / 19.8 for each unit.
    assert min(heights) == pytest.approx(156 - 18.9 * 130 / 19.8, abs=0.06)
    assert max(heights) == pytest.approx(156 - 0.9 * 130 / 19.8, abs=0.06)


def test_metrics_stand_beside_each_other() -> None:
    both = Measures([{"step": k, "reward": k, "entropy": -k} for k in (1, 2)])
    shown = viz.curves(both, metrics=["reward", "entropy"])
    assert repr(shown) == "<Curves: reward, entropy>"
    assert 'viewBox="0 0 920 180"' in shown._repr_html_()
    assert (
        'viewBox="0 0 460 360"'
        in viz.curves(both, metrics=["reward", "entropy"], columns=1)._repr_html_()
    )


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1.0]),
        (-0.05, 1.05, [0.0, 0.5, 1.0]),
        (-3.0, 90.0, [0, 25, 50, 75]),
        (1e-6, 1.7e-6, [1e-6, 1.2e-6, 1.4e-6, 1.6e-6]),
    ],
)
def test_ticks_are_round(low: float, high: float, marks: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(marks)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e-30, 1e30])
def test_a_constant_has_an_axis(value: float) -> None:
    low, high = charts.bounds(value, value)
    assert low < value < high and 2 <= len(charts.ticks(low, high)) <= 6


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((), {}, "curves need at least one run"),
        (("runs/mine",), {}, r"expected a run of vrft.train, got str; vrft.TrainResult\(folder\)"),
        ((Measures([{"accuracy": 1.0}]),), {}, "expected a run of vrft.train"),
        ((run([0]),), {"metrics": "rewrd"}, "no run has a metric 'rewrd'; did you mean 'reward'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    given: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        viz.curves(*given, **options)


@pytest.mark.parametrize("name", ["a.svg", "new/a.html"])
def test_curves_are_saved(name: str, tmp_path: Path) -> None:
    path = viz.curves(run([0, 1])).save(tmp_path / name)
    assert "<polyline" in path.read_text("utf-8")
    with pytest.raises(UserError, match=r"saved as \.svg or \.html"):
        viz.curves(run([0, 1])).save(tmp_path / "a.png")
