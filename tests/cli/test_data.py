"""Data without a task file on the command line: the task they are for, the line, and convert."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.folders import RECORDS

from vrft import cli, config
from vrft.cli import arguments, configuration, data, evaluated_task, evaluation
from vrft.errors import UserError
from vrft.evaluation.benchmark import Benchmark

HERE = RECORDS / "formats"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("vlm_r1.jsonl", "grounding"),
        ("coco.json", "grounding"),
        ("labelme", "grounding"),
        ("trl.jsonl", "vqa"),
        ("verl.parquet", "vqa"),
    ],
)
def test_data_choose_their_task_and_its_configuration(file: str, task: str) -> None:
    args = arguments.parse(["train", "--data", str(HERE / file), "model=demo"])
    resolved = configuration.resolve(args)
    assert (resolved.task.name, resolved.model.name) == (task, "demo")
    assert resolved.task.settings["data_dir"] == str(HERE / file)
    # The shipped configuration of that name is taken.
    assert resolved.model.max_pixels == config.load(task).model.max_pixels is not None


@pytest.mark.parametrize("answers", [([2, 3], [4]), (["1", "2", "3", "4"],)])
def test_several_right_answers_are_no_box(
    answers: tuple[list[object], ...], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [{"images": [str(HERE / "a.png")], "question": "?", "answer": a} for a in answers]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    settings = {"data_dir": str(file), "allow_outside": True}
    assert data.task_of({**settings, "accept_any": True}, "train") == "vqa"
    boxes = {**settings, "accept_any": True, "kind": "box"}
    assert data.task_of(boxes, "train") == "grounding"
    if len(answers) == 1:
        assert data.task_of(settings, "train") == "grounding"


@pytest.mark.parametrize(
    ("rows", "task"), [("vlm_r1.jsonl", "grounding"), ("canonical_vqa.jsonl", "vqa")]
)
def test_data_choose_their_task_beside_a_configuration_that_names_none(
    rows: str, task: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: demo\ntrain: {max_steps: 3}\n", encoding="utf-8")
    place = str(HERE / rows)
    args = arguments.parse(["train", "--config", str(file), "--data", place])
    resolved = configuration.resolve(args)
    assert resolved.task == config.TaskConfig(task, {"data_dir": place})
    assert (resolved.model.name, resolved.train.max_steps) == ("demo", 3)
    # Of the file the data may come, too, or of a setting.
    file.write_text(f"model: demo\ntask: {{data_dir: {place}}}\n", encoding="utf-8")
    for words in (["--config", str(file)], [f"task.data_dir={place}"]):
        assert configuration.resolve(arguments.parse(["check", *words])).task.name == task


def test_the_settings_of_a_configuration_say_which_task_reads_its_data(tmp_path: Path) -> None:
    rows, file = tmp_path / "rows.jsonl", tmp_path / "mine.yaml"
    rows.write_text('{"q": "?", "a": "1"}\n', encoding="utf-8")
    file.write_text("data: {columns: {question: q, answer: a}}\n", encoding="utf-8")
    args = arguments.parse(["check", "--config", str(file), "--data", str(rows)])
    assert configuration.resolve(args).task.name == "vqa"


def test_data_choose_their_task_for_a_benchmark_that_names_none(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: mine\nsampling: {max_completion_length: 9}\n", encoding="utf-8")
    place = str(HERE / "vlm_r1.jsonl")
    words = ["eval", "--benchmark", str(file), "--model", "demo"]
    benchmark = evaluated_task.benchmark_of(arguments.parse([*words, "--data", place]), [])
    assert benchmark.task == config.TaskConfig("grounding", {"data_dir": place})
    assert benchmark.sampling.max_completion_length == 9
    assert capsys.readouterr().err.startswith("read as VLM-R1 conversations")
    with pytest.raises(UserError, match="names no task; add `task: NAME` to it, or give --data"):
        evaluated_task.benchmark_of(arguments.parse(words), [])


def test_a_named_task_keeps_its_data() -> None:
    data_args = ["--data", str(HERE / "trl.jsonl")]
    for words in (["--task", "counting"], ["task=counting"], ["--config", "counting"]):
        resolved = configuration.resolve(arguments.parse(["train", *data_args, *words]))
        assert (resolved.task.name, resolved.task.settings["data_dir"]) == (
            "counting",
            str(HERE / "trl.jsonl"),
        )


@pytest.mark.parametrize(
    ("content", "settings", "complaint"),
    [
        # no known columns; a format that is named and is not there; an unknown name
        ('{"q": "?"}', [], "rows.jsonl: line 1: the columns q are of no known format"),
        ('{"q": "?"}', ["data.format=trl"], "rows.jsonl: line 1: no prompt"),
        ('{"prompt": "?", "solution": "1"}', ["data.format=tlr"], "'tlr' is not one of"),
        # of a question and an answer the one that lacks is named
        ('{"question": "?"}', [], "question is there, and no answer; say which column it is"),
        ('{"label": "?", "prompt": "?"}', [], "prompt is there, and no answer; "),
        ('{"query": "?", "answer": "1"}', [], "answer is there, and no question; "),
        ("", [], "no rows in the split 'train'"),
        # a mistyped column, without which the answers would be texts
        (
            '{"question": "?", "opts": ["a", "b"], "answer": "a"}',
            ["data.columns.option=opts"],
            "data.columns.option=opts: these rows are not asked for 'option'; did you mean 'opt",
        ),
    ],
)
def test_data_that_are_not_understood_are_refused_before_a_model_is_asked_for(
    content: str, settings: list[str], complaint: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content + "\n", encoding="utf-8")
    for verb in (["train", "--dry-run"], ["train"], ["check"]):
        assert cli.main([*verb, "--data", str(file), *settings]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("vrft: error: ") and complaint in line


def test_check_says_how_data_are_read(capsys: Capture) -> None:
    assert cli.main(["check", "--data", str(HERE / "vlm_r1.jsonl"), "model=demo"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("read as VLM-R1 conversations, boxes in pixels of the original pic")
    assert "ready to train" in said.out


def test_only_one_process_says_it(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from vrft_tasks.vqa import Vqa

    monkeypatch.setenv("RANK", "1")
    data.say_reading(Vqa(str(HERE / "trl.jsonl")), "train")
    assert capsys.readouterr().err == ""


def test_own_data_are_evaluated_without_a_benchmark(tmp_path: Path, capsys: Capture) -> None:
    right = "<think>I look.</think><answer>(100,200),(500,500)</answer>"
    wrong = "<think>I look.</think><answer>(0,0),(50,50)</answer>"
    predictions = tmp_path / "predictions.jsonl"
    view = [112, 84, "thousandths"]
    lines = [
        json.dumps({"id": name, "text": text, "views": [view]})
        for name, text in (("1", right), ("2", wrong))
    ]
    predictions.write_text("\n".join(lines), encoding="utf-8")
    words = ["--data", str(HERE / "vlm_r1.jsonl"), "--predictions", str(predictions)]
    assert cli.main(["eval", *words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "match" in said.out and "50.0" in said.out
    assert said.err.startswith("read as VLM-R1 conversations")


def test_a_model_of_a_run_is_asked_as_it_was_trained(tmp_path: Path) -> None:
    run = config.load("vqa", ["task.data_dir=train.jsonl", "task.template='{question}: now!'"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(run), encoding="utf-8")
    (tmp_path / "final").mkdir()
    for folder in (tmp_path, tmp_path / "final"):
        settings = data.settings_of_run(str(folder), None, "vqa")
        assert settings == ['task.template="{question}: now!"']
        assert config.load(None, settings).task.settings == {"template": "{question}: now!"}
    assert data.settings_of_run(str(tmp_path), None, "grounding") == []
    assert data.settings_of_run("Qwen/Qwen2-VL-2B-Instruct", None, "vqa") == []


def test_letters_of_a_runs_settings_reach_the_evaluation_of_its_model(tmp_path: Path) -> None:
    told = {"template": "{question} \U0001f600\x7f\x85\u2028 é"}
    run = replace(config.Config(), task=config.TaskConfig("vqa", told))
    (tmp_path / "config.yaml").write_text(config.to_yaml(run), encoding="utf-8")
    assert config.load(None, data.settings_of_run(str(tmp_path), None, "vqa")).task.settings == told


def test_a_configuration_beside_a_model_that_is_no_runs_is_not_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = config.load("vqa", ["task.template='{question}: now!'"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(other), encoding="utf-8")
    for name in ("demo", "mine", "checkpoint-5", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert [data.settings_of_run(name, None, "vqa") for name in ("demo", "mine")] == [[], []]
    assert [data.task_of_run(name).name for name in ("checkpoint-5", "final", ".")] == ["vqa"] * 3
    # another tool's, in the folder of a model
    (tmp_path / "mine" / "config.yaml").write_text("loss: focal\n")
    assert data.settings_of_run("mine", None, "vqa") == []


def test_results_of_other_data_lie_in_other_folders() -> None:
    folders = set()
    for file in ("a.jsonl", "b.jsonl"):
        args = arguments.parse(["eval", "--data", file, "--model", "run/final"])
        for name in ("vqa", "mine"):
            args.benchmark = "vqa" if name == "vqa" else None  # a task without a file of its own
            folders.add(evaluation.results_folder(args, Benchmark(name)))
    assert {folder.name for folder in folders} == {
        *("vqa-run-final-a", "vqa-run-final-b", "mine-run-final-a", "mine-run-final-b")
    }


def test_data_are_converted(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "swift.jsonl"
    words = ["--from", str(HERE / "r1v.jsonl"), "--to", "swift", "--out", str(out)]
    assert cli.main(["data", "convert", *words]) == 0
    said = capsys.readouterr()
    rows, heading, *commands = said.out.splitlines()
    assert (rows, heading) == (f"{out}: 2 rows", "next:")
    given = f"--data {shlex.quote(str(out))} data.allow_outside=true"
    assert commands == [f"  vrft check {given}", f"  vrft train {given}"]
    assert said.err == (
        "read as R1-V and Visual-RFT rows\n"
        "its pictures lie outside its folder: read it by data.allow_outside=true\n"
    )
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    # Thousandths of 120 x 90 have become pixels.
    assert first["objects"]["bbox"] == [[12, 18, 60, 45]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--from", "trl.jsonl", "--to", "tlr", "--out", "o.jsonl"], "--to tlr: expected one of"),
        (["--from", "trl.jsonl", "--to", "trl", "--out", "o.csv"], "trl is a file o.jsonl"),
        (["--from", "gone.jsonl", "--to", "trl", "--out", "o.jsonl"], "no data at"),
        (["--from", "trl.jsonl", "--to", "trl"], "required: --out"),
        (
            [
                "--from",
                "canonical.jsonl",
                "--to",
                "trl",
                "--out",
                "o.jsonl",
                "data.boxes=fractions",
            ],
            "data.boxes=pixels",
        ),
    ],
)
def test_mistakes_in_a_conversion_are_one_line(
    words: list[str], complaint: str, tmp_path: Path, capsys: Capture
) -> None:
    places = {"--from": HERE, "--out": tmp_path}
    pairs = zip(["", *words], words, strict=False)
    full = [str(places[before] / word) if before in places else word for before, word in pairs]
    assert cli.main(["data", "convert", *full]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vrft: error: ") and complaint in line


@pytest.mark.parametrize(
    "word",
    # of a run, of its pictures, of prompts and rewards, and of the data: --from names them
    ["train.learning_rate=1e-6", "model=demo", "data.on_bad_picture=skip", "task.system=Be brief.",
     "task.kind=box", "task=vqa", "data.data_dir=other.jsonl"],
)  # fmt: skip
def test_a_setting_that_a_conversion_would_ignore_is_refused(
    word: str, tmp_path: Path, capsys: Capture
) -> None:
    words = ["--from", str(HERE / "trl.jsonl"), "--to", "trl", "--out", str(tmp_path / "o.jsonl")]
    assert cli.main(["data", "convert", *words, "data.format=trl", word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vrft: error: {word}: a conversion reads rows alone")
    assert "data.boxes" in line and "data.columns" in line and not (tmp_path / "o.jsonl").exists()


def test_columns_of_no_other_format_are_said_to_be_left_out(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "?", "answer": "1", "source": "web"}\n', encoding="utf-8")
    words = ["--from", str(file), "--to", "trl", "--out", str(tmp_path / "o.jsonl")]
    assert cli.main(["data", "convert", *words]) == 0
    assert "left out: the columns source\n" in capsys.readouterr().err


def test_settings_reach_the_choice_of_the_task(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"q": "?", "a": "1"}\n', encoding="utf-8")
    settings = {"data_dir": str(file), "columns": {"question": "q", "answer": "a"}}
    assert data.task_of(settings, "train") == "vqa"
    with pytest.raises(UserError, match="no known format"):
        data.task_of({"data_dir": str(file)}, "train")
    for kind, task in (("text", "vqa"), ("by_row", "vqa"), ("points", "grounding")):
        assert data.task_of({"data_dir": "unread", "kind": kind}, "train") == task
