"""What two evaluations have asked: told apart by name, and the same wherever the data lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.scripted import BETTER, Scripted, benchmark, evaluate_twice
from PIL import Image

from vrft.cli.data import READING
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig, TaskConfig
from vrft.errors import UserError
from vrft.evaluation import comparison, evaluate, settings_file


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return evaluate_twice(tmp_path)


def evaluated(data: Path, out: Path, limit: int | None = None) -> Path:
    evaluate.run(benchmark(data), ModelConfig(name="x"), out, policy=Scripted(BETTER), limit=limit)
    return out


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tmp_path / "data", tmp_path / "elsewhere"))


def test_settings_that_differ_are_named_with_both_values(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = benchmark(tmp_path / "data")
    told = {**asked.task.settings, "template": "Find {instruction}."}
    longer = SamplingConfig(temperature=0.0, max_completion_length=2048)
    other = replace(asked, task=TaskConfig("lisa_grounding", told), sampling=longer)
    evaluate.run(other, ModelConfig(name="x"), tmp_path / "other",
                 policy=Scripted(BETTER))  # fmt: skip
    with pytest.raises(UserError) as caught:
        comparison.pair(runs[0], tmp_path / "other")
    line = str(caught.value)
    assert "task.template (" in line and ' and "Find {instruction}."), ' in line
    assert "sampling.max_completion_length (256 and 2048); compare" in line and "\n" not in line


@pytest.mark.parametrize("limit", [None, 3])
def test_the_same_data_in_another_place_are_compared(
    limit: int | None, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = evaluated(copied(tmp_path), tmp_path / "other", limit)
    pairing = comparison.pair(runs[0], other)
    assert pairing.metrics[0].difference.n == (limit or 4)
    assert [change.id for change in pairing.changes] == (["a"] if limit else ["d", "a"])


def test_a_default_that_is_written_down_is_no_difference(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = benchmark(tmp_path / "data")
    written = replace(
        asked, task=TaskConfig("lisa_grounding", {**asked.task.settings, "reward": "iou"})
    )
    evaluate.run(written, ModelConfig(name="x"), tmp_path / "other", policy=Scripted(BETTER))
    assert len(comparison.pair(runs[0], tmp_path / "other").changes) == 2


@pytest.mark.parametrize("limit", [None, 3])
def test_other_questions_answers_or_pictures_elsewhere_are_refused(
    limit: int | None, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    record = tmp_path / "data" / "test" / "a.json"
    changes = {
        "question": ("the owl", "the key"),
        "gold": ("[20, 20]", "[10, 10]"),
    }
    for name, (old, new) in changes.items():
        data = Path(shutil.copytree(tmp_path / "data", tmp_path / name))
        text = record.read_text(encoding="utf-8")
        assert old in text
        (data / "test" / "a.json").write_text(text.replace(old, new), encoding="utf-8")
        other = evaluated(data, tmp_path / f"of {name}", limit)
        with pytest.raises(
            UserError, match=r"task\.data_dir \(.*\), were asked different things as 'a'"
        ):
            comparison.pair(runs[0], other)
    data = copied(tmp_path)
    Image.new("RGB", (100, 100), "red").save(data / "test" / "b.jpg")
    with pytest.raises(UserError, match="were asked about different pictures"):
        comparison.pair(runs[0], evaluated(data, tmp_path / "other", limit))


def test_samples_in_another_order_are_paired_by_their_ids(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Both tasks list their files by name; the order of rows elsewhere is their own."""
    first, second = (comparison.load_evaluation(run) for run in runs)
    turned = replace(second, scored=second.scored[::-1])
    old, new = comparison.on_common_samples(first, turned, "both")
    assert [each.sample.id for each in new.scored] == [each.sample.id for each in old.scored]
    assert new.scored == second.scored


def test_an_evaluation_goes_on_after_its_data_were_moved(tmp_path: Path) -> None:
    (before, _) = evaluate_twice(tmp_path)
    file = before / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"no longer at .*data; where they were moved, the same `vr"
    ):
        comparison.load_evaluation(before)
    asked = benchmark(tmp_path / "moved")
    policy = Scripted(BETTER)
    report = evaluate.run(asked, ModelConfig(name="old"), before, policy=policy)
    assert (report.n, report.missing) == (4, 0)
    settings = json.loads((before / "settings.json").read_text())
    assert settings["benchmark"]["task"]["settings"]["data_dir"] == str(tmp_path / "moved")
    assert comparison.load_evaluation(before).report.n == 4
    # other data in that place are no continuation
    (tmp_path / "moved" / "test" / "a.json").unlink()
    with pytest.raises(UserError, match="changed since its answers were made"):
        evaluate.run(asked, ModelConfig(name="old"), before, policy=policy)


def test_all_settings_by_which_rows_are_read_are_places() -> None:
    assert {*READING, "data_dir"} == set(settings_file.READ_BY)
