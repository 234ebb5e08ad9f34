"""The task of an evaluation without a benchmark: that which is named, the run's, or the rows'."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fakes.folders import FAKES, RECORDS

from vrft import config
from vrft.cli import arguments, data, evaluated_task, evaluation
from vrft.errors import UserError
from vrft.evaluation.benchmark import Benchmark

HERE = RECORDS / "formats"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which a task's file adds its folder


def asked(model: Path, rows: Path, *settings: str) -> Benchmark:
    """The benchmark of ``vrft eval --data`` for a model."""
    args = arguments.parse(["eval", "--data", str(rows), "--model", str(model)])
    return evaluated_task.benchmark_of(args, settings)


def run_of(folder: Path, *settings: str) -> Path:
    """A folder with the configuration of a run."""
    folder.mkdir()
    trained = config.load(None, settings)
    (folder / "config.yaml").write_text(config.to_yaml(trained), encoding="utf-8")
    return folder


def test_a_model_is_asked_by_the_task_of_its_run_though_its_data_are_rows(tmp_path: Path) -> None:
    rows = HERE / "canonical_vqa.jsonl"
    template = "task.template='{question} Now!'"
    run = run_of(tmp_path / "run", "task=counting", "task.data_dir=train.jsonl", template)
    for settings in ((), ("task=counting",)):
        benchmark = asked(run, rows, *settings, "sampling.top_k=3")
        assert (benchmark.name, benchmark.split) == ("counting", "test")
        told = {"template": "{question} Now!", "data_dir": str(rows)}
        assert benchmark.task == config.TaskConfig("counting", told)
        sampling = benchmark.sampling
        assert (sampling.temperature, sampling.max_completion_length) == (0, 512)
        assert sampling.top_k == 3
    # the task that is named, and the settings of the run for no other one
    named = asked(run, rows, "task=vqa")
    assert named.task == config.TaskConfig("vqa", {"data_dir": str(rows)})
    assert asked(Path("demo"), rows, "task=counting").task.settings == {"data_dir": str(rows)}


@pytest.mark.parametrize(
    ("trained", "given", "lengths"),
    [
        # as long as in training; not shorter than the model that it began with
        (("2048", "4096"), (), (2048, 4096)),
        (("256", "64"), (), (512, 4096)),
        # a long prompt, and any
        (("256", "9000"), (), (512, 9000)),
        (("256", "null"), (), (512, None)),
        # what is given counts
        (("2048", "9000"), ("sampling.max_completion_length=99",), (99, 9000)),
    ],
)
@pytest.mark.parametrize("task", ["vqa", "counting", "grounding"])
def test_a_model_may_write_as_long_as_in_its_run(
    task: str,
    trained: tuple[str, str],
    given: tuple[str, ...],
    lengths: tuple[int, int | None],
    tmp_path: Path,
) -> None:
    names = ("sampling.max_completion_length", "sampling.max_prompt_length")
    words = [f"{name}={value}" for name, value in zip(names, trained, strict=True)]
    run = run_of(tmp_path / "run", f"task={task}", *words)
    sampling = asked(run, HERE / "canonical_vqa.jsonl", *given).sampling
    assert (sampling.max_completion_length, sampling.max_prompt_length) == lengths
    # a benchmark that is named asks all models alike
    rows = ["--data", str(HERE / "canonical_vqa.jsonl"), "--model", str(run)]
    args = arguments.parse(["eval", "--benchmark", "vqa", *rows])
    assert evaluation.benchmark_of(args, ()).sampling.max_completion_length == 512


def test_the_file_of_a_runs_task_may_lie_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_of(tmp_path / "run", "task=own_letters.py", "task.ask=Say!")
    (tmp_path / "tasks").mkdir()
    text = (FAKES / "letters_task.py").read_text(encoding="utf-8")
    field = '    ask: str = "Say"\n    data_dir: str = ""\n    primary'
    (tmp_path / "tasks" / "own_letters.py").write_text(text.replace("    primary", field))
    with pytest.raises(UserError, match=r"no task file own_letters\.py; name the file by task="):
        asked(run, Path("rows"))
    benchmark = asked(run, Path("rows"), "task=tasks/own_letters.py")
    name = str(tmp_path / "tasks" / "own_letters.py")
    assert benchmark.task == config.TaskConfig(name, {"ask": "Say!", "data_dir": "rows"})


def test_a_task_without_data_is_evaluated_without(tmp_path: Path) -> None:
    drawn = FAKES / "letters_task.py"
    run = run_of(tmp_path / "run", f"task={drawn}")
    asks = ["--predictions", str(tmp_path / "absent.jsonl")]
    for words in (["eval", "--model", str(run)], ["eval", *asks, f"task={drawn}"]):
        args = arguments.parse(words)
        evaluation.check_options(args)
        assert evaluated_task.benchmark_of(args, args.settings).task.name == str(drawn)
    with pytest.raises(UserError, match="has no data_dir; leave --data out"):
        asked(run, Path("rows"))
    # data that a task has by itself are not those of a run
    other = run_of(tmp_path / "other", "task=counting", "task.data_dir=demo")
    for model in (str(other), "demo"):
        with pytest.raises(UserError, match="give --benchmark NAME, or --data"):
            evaluation.check_options(arguments.parse(["eval", "--model", model]))


def test_rows_of_another_kind_than_the_runs_are_noted(tmp_path: Path, capsys: Capture) -> None:
    run = run_of(tmp_path / "run", "task=vqa")
    assert asked(run, HERE / "vlm_r1.jsonl").name == "grounding"
    note, *_ = capsys.readouterr().err.splitlines()
    assert note == (
        f"note: {run} was trained on the task vqa, and these rows are read as grounding; add "
        "task=vqa to ask as it was trained"
    )
    assert asked(run, HERE / "canonical_vqa.jsonl").name == "vqa"
    assert "note" not in capsys.readouterr().err


def test_the_runs_own_data_are_read_as_in_its_training(tmp_path: Path, capsys: Capture) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"q": "?", "a": "1"}\n', encoding="utf-8")
    reading = ["data.columns.question=q", "data.columns.answer=a"]
    run = run_of(tmp_path / "run", "task=vqa", f"task.data_dir={rows}", *reading)
    link = tmp_path / "linked.jsonl"
    link.symlink_to(rows)
    for place in (rows, link):
        told = asked(run, place).task.settings
        assert told == {"columns": {"question": "q", "answer": "a"}, "data_dir": str(place)}
    assert "note" not in capsys.readouterr().err


def test_data_that_are_not_the_runs_are_read_by_themselves_and_asked_in_its_words(
    tmp_path: Path, capsys: Capture
) -> None:
    asking = ["task.template='{question} Now!'", "task.kind=box", "task.coordinates=thousandths"]
    reading = ["data.box_format=xywh", "data.boxes=fractions", "data.columns.question=problem"]
    trained = f"task.data_dir={tmp_path / 'train.jsonl'}"
    run = run_of(tmp_path / "run", "task=grounding", trained, *asking, *reading)
    words = {"template": "{question} Now!", "kind": "box", "coordinates": "thousandths"}
    rows = HERE / "vlm_r1.jsonl"
    assert asked(run, rows).task.settings == {**words, "data_dir": str(rows)}
    note, line, *_ = capsys.readouterr().err.splitlines()
    columns = """'data.columns={"question": "problem"}'"""
    assert note == (
        f"""note: {run} was trained on other data, read by 'data.box_format="xywh"' """
        f"""'data.boxes="fractions"' {columns}; {rows}: read without; add what holds for """
        "them too"
    )
    assert line.startswith("read as VLM-R1 conversations")
    # One that is given is nothing to be told, and neither is a run without any.
    given = (reading[0], "data.boxes=pixels", "data.columns.id=id")
    spelt = {"columns": {"id": "id"}, "box_format": "xywh", "box_unit": "pixels"}
    assert asked(run, rows, *given).task.settings == {**words, **spelt, "data_dir": str(rows)}
    plain = run_of(tmp_path / "plain", "task=grounding", trained, *asking)
    assert asked(plain, rows).task.settings == {**words, "data_dir": str(rows)}
    assert "note" not in capsys.readouterr().err


def test_files_of_one_folder_are_one_data_set_and_read_alike(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("")
    reading = ["data.box_format=xywh", "data.columns.question=problem", "task.kind=box"]
    trained = f"task.data_dir={tmp_path / 'train.jsonl'}"
    run = run_of(tmp_path / "run", "task=grounding", trained, *reading)
    test, elsewhere = tmp_path / "test.jsonl", tmp_path / "else" / "test.jsonl"
    given = data.settings_of_run(str(run), str(test), "grounding")
    assert 'task.box_format="xywh"' in given and 'task.columns={"question": "problem"}' in given
    assert data.settings_of_run(str(run), str(elsewhere), "grounding") == ['task.kind="box"']


def test_other_tasks_read_data_that_are_not_their_runs_by_themselves_too(
    tmp_path: Path, capsys: Capture
) -> None:
    reading = ["task.columns.answer=n", "task.allow_outside=true"]
    run = run_of(tmp_path / "run", "task=counting", "task.data_dir=train.jsonl", *reading)
    rows = HERE / "canonical_vqa.jsonl"
    assert asked(run, rows).task.settings == {"data_dir": str(rows)}
    assert 'data.columns={"answer": "n"}' in capsys.readouterr().err
