"""A run knows by which versions and processes it was made, and how its model read prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.models.processors import load_processor
from vrft.runs import launches
from vrft.runs.launches import Launch

BEFORE = Launch(
    1, 1, "one device", "cpu", "float32", {"torch": "2.12.0", "vrft": "0.1.0"},
    {"tokenizer": "a", "template": "b", "pictures": "c"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        # a version; one that is not told; processes, engine, device, dtype
        ({"versions": {"torch": "2.13.0", "vrft": "0.1.0"}}, ["torch: 2.12.0 -> 2.13.0"]),
        ({"versions": {}}, []),
        ({"processes": 2, "engine": "DDP"},
         ["processes: 1 -> 2 (prompts", "engine: one device -> DDP"]),
        ({"device": "cuda", "precision": "bfloat16"},
         ["device: cpu -> cuda", "precision: float32 -> bfloat16 (numbers"]),
    ],
)  # fmt: skip
def test_what_differs_is_said(change: dict[str, Any], said: list[str]) -> None:
    texts = launches.changes(BEFORE, replace(BEFORE, **change))
    assert len(texts) == len(said) and all(map(str.startswith, texts, said))


def test_the_launch_of_a_step_is_the_last_before_it(tmp_path: Path) -> None:
    assert launches.at(tmp_path, 3) is None  # a run from before they were written
    for launch in (BEFORE, replace(BEFORE, step=4, processes=2), replace(BEFORE, step=9)):
        launches.write(tmp_path, launch)
    assert [row.step for row in launches.read(tmp_path)] == [1, 4, 9]
    found = [launches.at(tmp_path, step) for step in (0, 1, 3, 4, 8, 9)]
    assert [row.step for row in found if row] == [1, 1, 1, 4, 4, 9]
    # Steps from 4 on are taken anew.
    launches.write(tmp_path, replace(BEFORE, step=4, processes=8))
    assert [(row.step, row.processes) for row in launches.read(tmp_path)] == [(1, 1), (4, 8)]
    assert launches.at(tmp_path, 1) == BEFORE


@pytest.mark.parametrize(
    "text",
    [
        # cut off, empty, no list, nothing of a launch, other types
        '[{"step": 1',
        "",
        "{}x",
        "[3]",
        "[{}]",
        '[{"step": "1"}]',
        '[{"step": 1, "versions": 3}]',
        '[{"step": 1, "readings": []}]',
        '[{"step": 1, "stranger": 1}]',
    ],
)
def test_a_file_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / launches.NAME).write_text(text)
    with pytest.raises(UserError, match=r"launches\.json: not the launches of a run") as caught:
        launches.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("tokenizer", "the tokenizer of"),
        ("template", "the chat template of"),
        ("pictures", "the preprocessing of pictures of"),
    ],
)
def test_a_model_that_reads_prompts_otherwise_is_refused(key: str, name: str) -> None:
    launches.check_readings(Path("run"), BEFORE, BEFORE.readings, "model")
    # A run from before they were written down.
    launches.check_readings(Path("run"), replace(BEFORE, readings={}), BEFORE.readings, "model")
    with pytest.raises(UserError, match=rf"^--resume run: {name} model differ") as caught:
        launches.check_readings(Path("run"), BEFORE, {**BEFORE.readings, key: "x"}, "model")
    assert "(other versions: torch" in str(caught.value)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2"])
def test_readings_tell_processors_apart(family: str, model_folder: Callable[[str], Path]) -> None:
    processor = load_processor(str(model_folder(family)))
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    known = launches.readings(processor)
    assert known == launches.readings(load_processor(str(model_folder(family)), None, 56 * 56))
    assert ("pictures" in known) == (family == "qwen2_vl")
    processor.chat_template = tokenizer.chat_template = "{{ messages }}"
    assert [k for k, v in launches.readings(processor).items() if v != known[k]] == ["template"]
    tokenizer.add_tokens(["<mine>"])
    assert launches.readings(processor)["tokenizer"] != known["tokenizer"]
    if family == "qwen2_vl":
        processor.image_processor.image_mean = [0.5, 0.5, 0.5]  # type: ignore[attr-defined]
        assert launches.readings(processor)["pictures"] != known["pictures"]


def test_todays_launch_tells_versions_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = launches.today(3, "cpu", "float32")
    assert (alone.step, alone.processes, alone.engine) == (3, 1, "one device")
    assert alone.versions["torch"] and alone.versions["vrft"]
    monkeypatch.setenv("WORLD_SIZE", "4")
    together = launches.today(1, "cpu", "float32")
    assert (together.processes, together.engine) == (4, "DDP")
