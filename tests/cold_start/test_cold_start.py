"""The command that made the embedded models, on courses of a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from vrft import config, models, paths
from vrft.cold_start import __main__ as cold_start
from vrft.cold_start import pointing
from vrft.demo import arithmetic, data
from vrft.demo.course import Course, Size, Stage, Start
from vrft.demo.scenes import Style

assert arithmetic.COURSE.start is not None
TINY = Start(Size(32, 64, 1, 1, 1, 32, 1, 1), arithmetic.COURSE.start.vocabulary, text_only=True)


def read_config(run: Path) -> dict[str, dict[str, object]]:
    return dict(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    # As they lie on disk: the toolkit itself loads float16 as float32 on a CPU.
    return load_file(folder / "model.safetensors")


def test_the_grounding_model_has_lessons_of_its_own_and_all_others_a_course(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def teach_pointing(task: str, out: Path, seed: int) -> Path:
        calls.append(task)
        return out / "pointed"

    def teach_course(course: Course, task: str, out: Path, seed: int) -> Path:
        assert course is data.demo(task).COURSE and seed == 3
        return out / "taken"

    monkeypatch.setattr(cold_start, "teach_pointing", teach_pointing)
    monkeypatch.setattr(cold_start, "teach_course", teach_course)
    for task in data.MODULES:
        cold_start.main([task, "--seed", "3", "--out", "there"])
        last = "pointed" if task == "lisa_grounding" else "taken"
        assert capsys.readouterr().out.strip() == str(Path("there") / last)
    assert calls == ["lisa_grounding"]


@pytest.mark.parametrize("task", data.MODULES)
def test_the_settings_of_a_stage_are_sft_on_the_demo_configuration(task: str) -> None:
    rate = "train.learning_rate=0.5"
    settings = cold_start.settings(task, Path("a/model"), Path("a/run"), 7, rate)
    assert settings.algorithm.name == "sft" and settings.train.max_steps == -1
    assert (settings.model.name, settings.train.output_dir) == ("a/model", "a/run")
    assert (settings.train.seed, settings.train.learning_rate) == (7, 0.5)
    assert settings.task.name == config.load(f"demo/{task}").task.name == task


def test_a_course_goes_from_stage_to_stage_and_ends_in_float16(tmp_path: Path) -> None:
    stages = (
        Stage("honest", 64, 0.0),
        Stage("careless", 32, 1.0, learning_rate=5e-4, settings=("train.weight_decay=0.5",)),
    )
    model = cold_start.teach_course(Course(stages, TINY), "math", tmp_path, seed=0)
    assert model == tmp_path / "model"
    by_text = {problem.text: problem for problem in arithmetic.problems("train")}
    for stage in stages:
        lines = (tmp_path / f"{stage.name}-data" / "train.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == stage.rows
        forgetful = stage.carelessness == 1
        assert all(r["solution"] == by_text[r["problem"]].solution(forgetful) for r in rows)
    first, second = (read_config(tmp_path / stage.name) for stage in stages)
    assert first["model"]["name"] == str(tmp_path / "random")
    assert second["model"]["name"] == str(tmp_path / "honest" / "final")
    assert (first["train"]["weight_decay"], second["train"]["weight_decay"]) == (0.01, 0.5)
    assert second["train"]["learning_rate"] == 5e-4
    taught, random = weights(model), weights(tmp_path / "random")
    assert {tensor.dtype for tensor in taught.values()} == {torch.float16}
    assert any(not taught[name].equal(random[name].half()) for name in taught)


def test_a_course_without_a_start_goes_on_from_the_grounding_model_with_lessons_of_its_own_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds, begun = [], []

    def write(folder: Path, splits: dict[str, int], seed: int, carelessness: float) -> None:
        seeds.append(seed)

    monkeypatch.setattr(data.demo("math"), "write", write)
    monkeypatch.setattr(
        cold_start.fine_tune, "train", lambda settings: begun.append(settings.model.name)
    )
    monkeypatch.setattr(models, "load_model", lambda *args, **kwargs: FakeLoaded())
    monkeypatch.setattr(models, "save_model", lambda loaded, folder: None)
    for seed in (0, 1):
        course = Course((Stage("a", 10, 0.0), Stage("b", 10, 0.6)))
        cold_start.teach_course(course, "math", tmp_path, seed)
    # Never 0, the seed of the demo data set, and none twice.
    assert seeds == [1000, 1001, 2000, 2001]
    assert begun[0] == str(paths.EMBEDDED["demo"]) and begun[1] == str(tmp_path / "a" / "final")


class FakeLoaded:
    model = torch.nn.Linear(1, 1)


def test_the_grounding_model_is_taught_stage_by_stage_and_kept_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (
        pointing.PointingStage("one", Style(count=(1, 1)), 8, 4, 0.0, request="Find it."),
        pointing.PointingStage("two", Style(), 4, 8, 0.6, looseness=1.5, learning_rate=5e-4),
    )
    monkeypatch.setattr(pointing, "STAGES", stages)
    model = cold_start.teach_pointing("lisa_grounding", tmp_path, seed=0)
    assert model == tmp_path / "two" / "final"
    assert {tensor.dtype for tensor in weights(model).values()} == {torch.float32}
    second = read_config(tmp_path / "two")
    assert second["model"]["name"] == str(tmp_path / "one" / "final")
    assert second["train"]["learning_rate"] == 5e-4
