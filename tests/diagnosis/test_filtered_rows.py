"""Rows of a run's data by their difficulty: what stays, what is counted, where pictures are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import cli, records, registry
from vrft.config.loading import load, to_yaml
from vrft.config.schema import TaskConfig
from vrft.diagnosis import difficulty, filtered_rows
from vrft.diagnosis.difficulty import Attempt, Bounds, Ledger
from vrft.errors import UserError
from vrft_tasks.fewshot_classification import SHOTS, FewshotClassification


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four rows of the task counting without ids, so that their numbers are these."""
    folder = tmp_path / "data"
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number in range(4):
        Image.new("RGB", (28, 28)).save(folder / "pictures" / f"{number}.png")
        rows.append({"images": [f"pictures/{number}.png"], "question": "How many?", "answer": 3})
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    """A run that has found row 0 always right, row 1 sometimes, row 2 never; 3 never sampled."""
    folder = tmp_path / "run"
    folder.mkdir()
    settings = load(None, ["task=counting", f"task.data_dir={data}"])
    (folder / "config.yaml").write_text(to_yaml(settings))
    ledger = Ledger()
    ledger.add(
        Attempt(str(number), 4, float(full), full, 9, signal=full == 2)
        for number, full in enumerate((4, 2, 0))
    )
    ledger.write(folder / difficulty.FILE)
    return folder


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_half_a_surrogate_pair_in_a_column_is_written_as_it_was_given(
    run: Path, data: Path
) -> None:
    rows = [row | {"note": "a\ud83d"} for row in lines_of(data / "train.jsonl")]
    text = "".join(json.dumps(row) + "\n" for row in rows)  # JSON in ASCII, with its escapes
    (data / "train.jsonl").write_text(text)
    task, out = registry.build(load(run / "config.yaml", []).task), data / "all.jsonl"
    filtered_rows.write(task, "train", run, Bounds(), out)
    assert [row["note"] for row in lines_of(out)] == ["a\ud83d"] * 4


def test_rows_remain_by_pass_rate_and_can_be_read_again(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "harder.jsonl"
    words = ["data", "filter", "--by", "difficulty", "--run", str(run), "--max-pass-rate", "0.9"]
    assert cli.main([*words, str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 3 of 4 rows; left out: 1 pass rate over 0.9\n"
    assert [row["id"] for row in lines_of(out)] == ["1", "2", "3"]
    again = registry.build(load(None, ["task=counting", f"task.data_dir={out}"]).task)
    samples = again.samples("train")
    assert [sample.id for sample in samples] == ["1", "2", "3"]
    assert samples[0].images == (data / "pictures" / "1.png",)
    assert [path.name for path in data.glob(".*")] == []


def test_pictures_are_named_as_seen_from_the_new_file(
    run: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "elsewhere" / "rows.jsonl"
    task = registry.build(load(str(run / "config.yaml")).task)
    text = filtered_rows.write(task, "train", run, Bounds(min_reward=0.1, unsampled=False), out)
    assert text == f"{out}: 2 of 4 rows; left out: 1 mean reward under 0.1, 1 never sampled"
    (first, _) = lines_of(out)
    assert first["images"] == ["../data/pictures/0.png"]
    assert (out.parent / first["images"][0]).is_file()


@pytest.mark.parametrize("name", ["1.AVIF", "1.jp2", "1.TIF"])
def test_pictures_of_every_ending_are_named_so(
    name: str, run: Path, data: Path, tmp_path: Path
) -> None:
    text = (data / "train.jsonl").read_text().replace("1.png", name)
    (data / "train.jsonl").write_text(text)
    (data / "pictures" / "1.png").rename(data / "pictures" / name)
    task = registry.build(load(str(run / "config.yaml")).task)
    out = tmp_path / "elsewhere" / "rows.jsonl"
    filtered_rows.write(task, "train", run, Bounds(), out)
    assert lines_of(out)[1]["images"] == [f"../data/pictures/{name}"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--max-pass-rate", "nan"], "expected a number"),
        ([], "give a bound"),
        (["--min-reward", "0.1", "--data", "nowhere"], "no data at nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], complaint: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run / "out.jsonl"
    assert (
        cli.main(["data", "filter", "--by", "difficulty", "--run", str(run), *words, str(out)]) == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line and not out.exists()


def test_data_of_another_run_and_files_that_are_there_are_refused(run: Path, data: Path) -> None:
    task = registry.build(load(str(run / "config.yaml")).task)
    with pytest.raises(UserError, match="exists already"):
        filtered_rows.write(task, "train", run, Bounds(), data / "train.jsonl")
    with pytest.raises(UserError, match=r"give a file OUT\.jsonl"):
        filtered_rows.write(task, "train", run, Bounds(), data / "rows.csv")
    content = (data / "train.jsonl").read_text().splitlines(keepends=True)
    (data / "train.jsonl").write_text("".join(content[:2]))
    with pytest.raises(UserError, match="sampled '2', which the data have not"):
        filtered_rows.write(task, "train", run, Bounds(), data / "out.jsonl")
    grounding = registry.build(load("demo/lisa_grounding").task)
    with pytest.raises(UserError, match=r"reads no rows .* algorithm\.min_pass_rate"):
        filtered_rows.write(grounding, "train", run, Bounds(), data / "out.jsonl")


def run_of(folder: Path, task: str, data: Path, sampled: str) -> Path:
    """A run on data that has found one sample always right."""
    folder.mkdir()
    settings = load(None, [f"task={task}", f"task.data_dir={data}"])
    (folder / "config.yaml").write_text(to_yaml(settings))
    ledger = Ledger()
    ledger.add([Attempt(sampled, 4, 1.0, 4, 9, signal=False)])
    ledger.write(folder / difficulty.FILE)
    return folder


def test_rows_are_known_by_the_ids_that_the_task_gives_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"1 + {index}?"}],
            "reward_model": {"style": "rule", "ground_truth": str(1 + index)},
            "extra_info": {"index": index, "split": "train"},
        }
        for index in (70, 71)
    ]
    data, out = tmp_path / "verl.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = run_of(tmp_path / "run", "vqa", data, "70")
    words = ["data", "filter", "--by", "difficulty", "--run", str(run), "--max-pass-rate", "0.9"]
    assert cli.main([*words, str(out)]) == 0
    assert "1 of 2 rows; left out: 1 pass rate over 0.9" in capsys.readouterr().out
    assert lines_of(out) == [{"id": "71", **rows[1]}]
    again = registry.build(load(None, ["task=vqa", f"task.data_dir={out}"]).task)
    assert [sample.id for sample in again.samples("train")] == ["71"]


@pytest.mark.parametrize("name", ["coco.json", "labelme"])
def test_annotations_are_no_rows(name: str, tmp_path: Path) -> None:
    data = RECORDS / "formats" / name
    task = registry.build(load(None, ["task=grounding", f"task.data_dir={data}"]).task)
    first = task.samples("train")[0].id
    run = run_of(tmp_path / "run", "grounding", data, first)
    with pytest.raises(UserError, match=r"reads no rows .* algorithm\.min_pass_rate"):
        filtered_rows.write(task, "train", run, Bounds(max_reward=0.5), tmp_path / "out.jsonl")


def test_a_folder_of_classes_is_no_rows(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.new("RGB", (28, 28)).save(tmp_path / "data" / label / "a.png")
    where = ["task=fewshot_classification", f"task.data_dir={tmp_path / 'data'}"]
    task = registry.build(load(None, where).task)
    with pytest.raises(UserError, match="reads no rows but annotations or a folder"):
        filtered_rows.write(task, "train", tmp_path, Bounds(), tmp_path / "out.jsonl")


def test_published_shots_are_read_where_the_task_reads_them(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)  # where a train.jsonl of something else lies
    asked: list[str] = []
    monkeypatch.setattr(records, "read", lambda source, *_, **__: asked.append(source))
    filtered_rows.rows(FewshotClassification(dataset="flowers102"), "train")
    assert asked == [SHOTS["flowers102"]]


@pytest.mark.parametrize("task", ["counting", "detection", "lisa_grounding"])
def test_an_empty_data_dir_is_not_the_current_folder(
    task: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    with pytest.raises(UserError, match=r"^task\.data_dir is empty; set it to "):
        registry.build(TaskConfig(task, {"data_dir": ""}))
    with pytest.raises(UserError, match=r"^no data: set task\.data_dir to"):
        records.read("", "train")


def test_a_run_without_a_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "filter", "--by", "difficulty", "--run", str(tmp_path), "out.jsonl"]
    assert cli.main(words) == 2
    assert "config.yaml is missing" in capsys.readouterr().err


def test_paths_within_a_text_stay_in_their_folder(run: Path, data: Path, tmp_path: Path) -> None:
    rows = [{"question": "<img>pictures/0.png</img> How many?", "answer": 1, "images": []}]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    task = registry.build(load(str(run / "config.yaml")).task)
    with pytest.raises(UserError, match="stand within a text; write the new file into"):
        filtered_rows.write(task, "train", run, Bounds(), tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.glob("*out.jsonl")] == []
    filtered_rows.write(task, "train", run, Bounds(), data / "out.jsonl")
    assert len(lines_of(data / "out.jsonl")) == 4
