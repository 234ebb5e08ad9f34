"""Paths in a run's settings are absolute in its folder, and short on a page for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft import config
from vrft.config.schema import Config
from vrft.runs import moved_files


def settings(task: str, data: str, model: str, *rewards: str) -> Config:
    given = [f"task={task}", f"task.data_dir={data}", f"model={model}"]
    return config.load(None, [*given, f"algorithm.rewards=[{', '.join(rewards)}]"])


def paths_of(made: Config) -> list[str]:
    return [
        made.task.name,
        made.task.settings["data_dir"],
        made.model.name,
        *made.algorithm.rewards,
    ]


def test_what_is_here_gets_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")  # stays one: pictures may lie beside it
    made = moved_files.absolute(settings("t.py", "link", "data", "r.py:f=0.5", "python:g"))
    names = ("t.py", "link", "data", "r.py:f=0.5")
    assert paths_of(made) == [*(f"{tmp_path}/{name}" for name in names), "python:g"]
    assert moved_files.absolute(made) == made


def test_settings_of_a_task_that_are_paths_are_absolute_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owls.txt").write_text("barn owl\n", encoding="utf-8")
    (tmp_path / "own").mkdir()  # the value of `dataset`, which is a text and no path
    given = ["task=fewshot_classification", "task.class_list=owls.txt", "task.dataset=own"]
    made = moved_files.absolute(config.load(None, given))
    assert made.task.settings["class_list"] == str(tmp_path / "owls.txt")
    assert made.task.settings["dataset"] == "own"
    assert moved_files.for_others(made).task.settings["class_list"] == "owls.txt"


@pytest.mark.parametrize("data", ["demo", "org/data", "~nobody/x", "n" * 300, "gone.jsonl"])
@pytest.mark.parametrize("model", ["demo", "smollm2", "Qwen/Qwen2-VL-2B-Instruct"])
def test_a_name_that_is_no_path_here_stays(
    data: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "smollm2"):  # ours go before folders of these names
        (tmp_path / name).mkdir()
    assert paths_of(moved_files.absolute(settings("vqa", data, model))) == ["vqa", data, model]


def test_a_published_page_names_no_folder_above_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = settings(f"{tmp_path}/a/t.py", f"{tmp_path}/b/q.jsonl", f"{tmp_path}/runs/x/final")
    assert paths_of(moved_files.for_others(inside)) == ["a/t.py", "b/q.jsonl", "runs/x/final"]
    outside = settings("/home/me/t.py", "/home/me/q.jsonl", "/home/me/base", "/home/me/r.py:f=2")
    assert paths_of(moved_files.for_others(outside)) == ["t.py", "q.jsonl", "base", "r.py:f=2"]
    named = settings("vqa", "org/data", "Qwen/Qwen2-VL-2B-Instruct")
    assert moved_files.for_others(named) == named
