"""The command line: exit statuses, one clear line for each mistake, commands in a row."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import loud_library
from fakes.command_line import complaint
from fakes.folders import ROOT
from PIL import Image

from vrft import cli, paths, registry
from vrft.cli import arguments, commands, configuration
from vrft.runs import run_log

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        # refused by the grammar: see test_arguments.py
        (["tarin"], "`vrft tarin`: no such command; did you mean 'train'?"),
        # parsed, but too little to go on with
        (
            ["train"],
            "give --data with your own rows, --task or --config; `vrft tasks` and `vrft config "
            "list` list them",
        ),
        (
            ["eval"],
            "give --benchmark NAME, or --data with your own rows; `vrft eval --list` lists the "
            "benchmarks",
        ),
        (
            ["eval", "--benchmark", "demo_grounding"],
            "give --model DIR or ID, --all-checkpoints RUN",
        ),
        # settings without a value
        (["train", "--task", "lisa_grounding", "fast"], "'fast': settings are given as key"),
    ],
)
def test_a_malformed_command_is_one_clear_line(
    capsys: Capture, argv: list[str], message: str
) -> None:
    assert message in complaint(capsys, *argv)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["tasks"])


def test_standard_output_holds_the_commands_own_lines_whatever_libraries_log_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        loud_library.import_it("a library that a command imports")
        print("run: folder")
        return 0

    monkeypatch.setitem(commands.COMMANDS, "env", run)  # type: ignore[misc]
    assert cli.main(["env"]) == 0
    assert capsys.readouterr() == ("run: folder\n", "[WARNING] no accelerator was detected\n")


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vrft", "tasks"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_a_terminal_sees_no_bar_but_ours(tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    words = ["train", "--config", "demo/counting", "algorithm=sft", "train.max_steps=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "vrft", *words, f"train.output_dir={tmp_path / 'run'}"],
        stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    ) as process:  # fmt: skip
        os.close(writer)
        seen = b""
        with contextlib.suppress(OSError):  # EIO where the process has closed its end
            while part := os.read(reader, 65536):
                seen += part
    os.close(reader)
    text = seen.decode()
    assert process.returncode == 0, text
    # "%|" stands in every bar of tqdm, such as transformers' "Loading weights"
    assert "fine-tuning" in text and "1/1" in text and "%|" not in text


def test_an_interrupted_command_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "names", interrupt)
    assert cli.main(["tasks"]) == 130
    assert capsys.readouterr().err == "vrft: interrupted\n"


def test_the_demo_is_a_command_that_runs_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from vrft.cli import demo

    asked = []

    def run(args: argparse.Namespace, command: Callable[[list[str]], int]) -> int:
        asked.append((args.seed, args.settings, command))
        return 1

    monkeypatch.setattr(demo, "run", run)
    assert cli.main(["demo", "--seed", "1", "2", "--limit", "3", "train.max_steps=2"]) == 1
    assert asked == [([1, 2], ["train.max_steps=2"], cli.main)]


MY_TASK = '''
"""Which colour is it?"""

from dataclasses import dataclass
from PIL import Image
from vrft import Prompt, Sample, Score, Task


@dataclass(frozen=True)
class Colours(Task[str]):
    primary = "right"
    data = "no data"

    def samples(self, split):
        image = Image.new("RGB", (56, 56), "red")
        return [Sample(str(i), "Which colour?", "red", (image,)) for i in range(3)]

    def prompt(self, sample):
        return Prompt(sample.question, sample.images)

    def reference(self, sample, views):
        return sample.answer

    def rewards(self):
        return {"letters": lambda sample, completion: (len(completion.text) % 5) / 5}

    def score(self, sample, completion):
        return Score({"right": float(sample.answer in completion.text)}, completion.text or None)
'''


@pytest.fixture
def my_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task written in one file."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "colours_of_my_own", None)
    monkeypatch.delitem(sys.modules, "colours_of_my_own")
    path = tmp_path / "colours_of_my_own.py"
    path.write_text(MY_TASK)
    return path


def test_a_task_in_one_file_is_trained_evaluated_and_shown(
    capsys: Capture,
    tmp_path: Path,
    my_task: Path,
    model_folder: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = model_folder("qwen2_vl")
    argv = ["train", "--task", str(my_task), f"model={model}", "train.output_dir=run"]
    small = ["train.max_steps=2", "sampling.max_completion_length=5", "train.learning_rate=1e-3"]
    assert cli.main([*argv, *small]) == 0
    evaluate = f"vrft eval task={my_task} --model run"
    expected = f"run: run\nmodel: run/final\nnext:\n  {evaluate}\n  vrft view run\n"
    assert capsys.readouterr().out == expected
    assert [row["step"] for row in run_log.read_metrics(Path("run/metrics.jsonl"))] == [1, 2]

    words = [*shlex.split(evaluate)[1:], "sampling.max_completion_length=5", "--limit", "1"]
    assert cli.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["benchmark"], report["n"]) == ("colours_of_my_own", 1)

    benchmark = tmp_path / "colours.yaml"
    benchmark.write_text(
        f"title: Colours\ntask: {my_task}\nsplit: test\nsampling: {{max_completion_length: 5}}\n"
    )
    evaluate = ["eval", "--benchmark", str(benchmark), "--limit", "2"]
    assert cli.main([*evaluate, "--model", "run/final"]) == 0
    out = Path("runs/eval/colours-run-final-first2")
    assert f"results: {out}\n" in capsys.readouterr().out
    lines = (out / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1"]

    assert cli.main([*evaluate, "--predictions", str(out / "predictions.jsonl")]) == 0
    assert "right" in capsys.readouterr().out
    assert cli.main(["view", str(out / "predictions.jsonl"), "--export", "page"]) == 0
    assert capsys.readouterr().out == "page: page/index.html\n"
    assert "Which colour?" in Path("page/data/e0/texts-0.js").read_text()

    assert cli.main(["compare", str(out), str(out / "predictions.jsonl")]) == 0
    assert "right of 2 samples: 0 better, 0 worse" in capsys.readouterr().out
    assert cli.main(["compare", str(out), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["benchmark"], found["changes"]) == ("colours", [])
    assert found["metrics"][0]["difference"]["mean"] == 0.0


def test_the_task_of_the_docs_works(
    capsys: Capture, tmp_path: Path, model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    page = (ROOT / "docs" / "own-task.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    Path("naming.py").write_text(code)
    for name, colours in (("sky", ("blue", "navy")), ("grass", ("green", "lime"))):
        for split, colour in zip(("train", "test"), colours, strict=True):
            Path("pictures", split, name).mkdir(parents=True)
            Image.new("RGB", (56, 56), colour).save(f"pictures/{split}/{name}/1.jpg")
    task = ["--task", "naming.py", "task.data_dir=pictures"]
    assert cli.main(["check", *task]) == 0, capsys.readouterr().out
    assert "gold answers earn: reward right 1.000, reward format 1.000" in capsys.readouterr().out
    assert cli.main(["train", *task, f"model={model_folder('qwen2_vl')}", "--dry-run"]) == 0
    assert "naming.py: 2 samples, rewards right, format" in capsys.readouterr().out
    assert not Path("runs").exists()
    short = ["--model", str(model_folder("qwen2_vl")), "sampling.max_completion_length=5"]
    assert cli.main(["eval", "--data", "pictures", *short, "task=naming.py", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["benchmark"], report["n"]) == ("naming", 2)
    assert "accuracy" in report["metrics"]


def documented_commands() -> list[str]:
    """The lines of the documents and of the shipped YAML files that are commands of ``vrft``."""
    files = [ROOT / "README.md", ROOT / "tasks/README.md"]
    # tests/docs runs the commands of the other pages.
    pages = sorted((ROOT / "docs").glob("*.md"))
    files += [page for page in pages if page.stem not in ("jobs", "endpoints", "vllm")]
    files += [
        paths.find(kind, name) for kind in ("configs", "benchmarks") for name in paths.names(kind)
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return sorted(set(re.findall(r"^(?:#? +)?(vrft \w.*)$", text, re.MULTILINE)))


@pytest.mark.parametrize("line", documented_commands())
def test_a_documented_command_is_well_formed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's own rows, which choose their task.
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"question": "?", "answer": "1"}\n', encoding="utf-8")
    args = arguments.parse(shlex.split(line.partition(" > ")[0])[1:])  # without the shell's part
    # A task or a run of the reader's own is not at hand.
    if args.command == "train" and not args.resume and not (args.task or "").endswith(".py"):
        configuration.resolve(args)
    if args.command == "eval" and args.benchmark is not None:
        paths.find("benchmarks", args.benchmark)


def test_documented_commands_are_found() -> None:
    found = documented_commands()
    assert "vrft check --task brighter_side.py" in found  # tasks/README.md
    assert "vrft train --task lisa_grounding --config demo/lisa_grounding" in found  # configs/


def test_no_folder_is_given_to_two_trainings_of_the_documents() -> None:
    # A reader types the pages in their order, and a run that exists is not begun again.
    trainings: dict[str, set[str]] = {}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in re.findall(r"^ *(vrft train .*)$", page.read_text("utf-8"), re.MULTILINE):
            for folder in re.findall(r"train\.output_dir=(\S+)", line):
                trainings.setdefault(folder, set()).add(line)
    assert len(trainings) > 8
    assert {folder: lines for folder, lines in trainings.items() if len(lines) > 1} == {}


def test_a_name_that_is_no_text_is_printed_with_escapes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.makedirs(folder)
    rows = Path(os.fsdecode(folder), "rows.jsonl")
    rows.write_text('{"question": "Which?", "answer": "red"}\n')
    out = Path(os.fsdecode(folder), "trl.jsonl")
    command = [sys.executable, "-m", "vrft", "data", "convert", "--from", os.fsencode(rows),
               "--to", "trl", "--out", os.fsencode(out)]  # fmt: skip
    made = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, env=made, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert rb"caf\udce9/trl.jsonl" in done.stdout and out.is_file()
