"""benchmarks/speed/report.py: RESULTS.md and the README's table are made of what is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fakes.race import SMALL, compared, measured

from benchmarks.speed import limit, measurement, report
from benchmarks.speed.limit import Machine
from benchmarks.speed.measurement import Measurement


def test_disturbed_pairs_do_not_count() -> None:
    (lisa,) = measured().races
    assert report.ratios(lisa, report.step_seconds) == [6.0, 8.0]
    noisy = replace(lisa, pairs=lisa.pairs[2:])
    assert report.ratios(noisy, report.step_seconds) == [90.0]  # better than no number


def test_the_report_is_made_of_what_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cpu-quick.json"
    kept.write_text(json.dumps(asdict(measured())), encoding="utf-8")
    found = measurement.read_all(tmp_path)
    assert found == [measured()]
    text = report.publish(found, tmp_path).read_text(encoding="utf-8")
    assert "**7.00 [6.00, 8.00]**" in text  # 12 / 2 and 16 / 2, not 90 / 1
    assert "2 of 3" in text
    assert "| LISA at the published pixel cap | 0.000 / 0.000 | 3.500 / 0.500 |" in text
    assert "| LISA at the published pixel cap | rows | 16 | 2 |" in text
    assert "Ours takes 25% of TRL's." in text  # 100 of 400
    light = limit.parts(SMALL, report.load(measured().races[0]), 4, Machine(0.925e9, 1e10), 4)
    assert f"{light['backward']:.3f} ({light['backward'] / 0.5:.0%})" in text


def test_a_goal_that_is_missed_is_told_with_the_profile_of_its_parts(tmp_path: Path) -> None:
    (lisa,) = measured().races
    text = report.missed([lisa])
    # 7x where 8x is wanted, as the settings say today and not when it was raced
    assert "- LISA at the published pixel cap: 7.00x where 8x is wanted" in text
    assert "Beyond the limit are " in text and "rollout" in text and "the rest" in text
    slower = replace(lisa, pairs=tuple(replace(p, theirs=replace(p.theirs, whole=99.0))
                                       for p in lisa.pairs))  # fmt: skip
    assert "x where 8x is wanted" not in report.missed([slower])
    other = replace(lisa, setting=replace(lisa.setting, name="unknown", floor=0.0))
    assert report.missed([other]) == "No goal that was set is missed."


def test_a_count_that_one_side_lacks_is_never_shown_as_0(tmp_path: Path) -> None:
    (lisa,) = measured().races
    one_sided = replace(lisa, counts={"theirs": {"rows": 16}, "ours": {}})
    with pytest.raises(KeyError):
        report.publish([replace(measured(), races=(one_sided,))], tmp_path)
    uncounted = replace(lisa, counts={})  # as on a GPU
    text = report.publish([replace(measured(), races=(uncounted,))], tmp_path).read_text()
    assert "What passes the weights" not in text


def test_the_readme_has_the_table_of_what_is_kept(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    text = f"# Title\n\n{report.BEGIN}old\n{report.END}\nThe rest.\n"
    readme.write_text(text)
    another_model = replace(measured(), shape="test")
    for _ in range(2):  # filling it again changes nothing
        report.fill_readme([measured(), another_model], readme)
        filled = readme.read_text()
        assert filled.startswith("# Title\n\n" + report.BEGIN) and filled.endswith("The rest.\n")
        assert "old" not in filled and filled.count("LISA at the published pixel cap") == 1
        assert "| 7.0x | 7.0x |" in filled and "commit abc1234" in filled


def test_the_readme_and_the_page_show_what_was_measured_last(tmp_path: Path) -> None:
    kept = measurement.read_all()
    readme = report.HERE.parents[1] / "README.md"
    shown = readme.read_text(encoding="utf-8").split(report.BEGIN)[1].split(report.END)[0]
    assert shown == report.in_short(kept) != ""
    page = (report.HERE / "RESULTS.md").read_text(encoding="utf-8")
    assert report.publish(kept, tmp_path).read_text(encoding="utf-8") == page


def test_learning_is_reported_with_its_picture(tmp_path: Path) -> None:
    learned = Measurement(
        "learning", "cpu", learning=(compared(5.0), compared(5.0), compared(5.0, reward=1.1))
    )
    assert all(path.stat().st_size for path in report.draw(learned, tmp_path))
    text = report.publish([learned], tmp_path).read_text(encoding="utf-8")
    line = "| 1 | 15 | 5 | 2.000 | 2.000 | 1.000 | 1.800 | after 12 s | after 4 s | 3.0x |"
    assert line in text and "| after 12 s | never |  |" in text
    assert "TRL's time over ours: geometric mean 3.0 (95 % 3.0 to 3.0; 2 of 3 seeds)." in text


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        # TRL is at its goal after 12 s, we are after 0.8 of these: log 2 and log 8 have the mean
        # log 4; twofold faster and slower cancel each other
        ((7.5, 1.875), "geometric mean 4.0 (95 % "),
        ((7.5, 30.0), "geometric mean 1.0 (95 % "),
        ((7.5,), "1 of 1 seeds reached the goal on both sides."),
    ],
)
def test_ratios_are_averaged_by_their_logarithms(ours: tuple[float, ...], told: str) -> None:
    learning = tuple(compared(seconds) for seconds in ours)
    assert report.mean_ratio(Measurement("learning", "cpu", learning=learning)).startswith(told)
