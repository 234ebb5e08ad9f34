"""The command that comes next: each parses, and a path with spaces stays one word."""

from __future__ import annotations

import argparse
import ast
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes.folders import ROOT

from vrft import config, paths
from vrft.cli import arguments, next_commands


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command that is typed as it is printed."""
    program, *rest = shlex.split(next_commands.line(words))
    assert program == "vrft"
    return arguments.parse(rest)


def test_commands_are_printed_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    next_commands.say(["view", "my run"], ["view", "it's"])
    assert capsys.readouterr().out == "next:\n  vrft view 'my run'\n  vrft view 'it'\"'\"'s'\n"
    next_commands.say()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # the benchmark that brings the same data
        (["task=lisa_grounding", "task.data_dir=demo"], ["--benchmark", "demo_grounding"]),
        (["task=counting", "task.data_dir=demo"], ["--benchmark", "demo_counting"]),
        # one that asks for the data
        (
            ["task=lisa_grounding", "task.data_dir=Reason Seg"],
            ["--benchmark", "lisa_test", "--data", "Reason Seg"],
        ),
        # the one of the run's classes, and none where they are not told or are the user's own
        (
            ["task=fewshot_classification", "task.data_dir=f", "task.dataset=flowers102"],
            ["--benchmark", "flowers102", "--data", "f"],
        ),
        (["task=fewshot_classification", "task.data_dir=my/classes"], None),
        (
            ["task=fewshot_classification", "task.data_dir=my/classes", "task.dataset=own"],
            None,
        ),
        # the one that asks in the run's words
        (["task=counting", "task.data_dir=demo", "task.template='{question} Now!'"], None),
        # own rows, which are a benchmark by themselves
        (["task=vqa", "task.data_dir=my rows.jsonl"], ["--data", "my rows.jsonl"]),
        # a task in a file has none: it is asked on its own data, or draws them
        (["task=naming.py", "task.data_dir=pictures"], ["--data", "pictures"]),
        (["task=drawn.py"], ["task=drawn.py"]),
        (["task=vqa"], None),
    ],
)
def test_a_run_is_evaluated_on_the_benchmark_of_its_task_and_data(
    settings: list[str], expected: list[str] | None
) -> None:
    trained = config.load(None, settings)
    own_rows = trained.task.name == "vqa"
    assert next_commands.benchmark_of(trained, own_rows=own_rows) == expected
    after = next_commands.after_train(trained, Path("my run"), own_rows=own_rows)
    commands = [parsed(words) for words in after]
    assert commands[-1].command == "view" and commands[-1].paths == [Path("my run")]
    if expected is None:
        assert len(commands) == 1
        return
    evaluate, _ = commands
    assert (evaluate.command, evaluate.model) == ("eval", "my run")
    assert [evaluate.benchmark, evaluate.data] == [
        expected[expected.index(name) + 1] if name in expected else None
        for name in ("--benchmark", "--data")
    ]
    assert evaluate.settings == [word for word in expected if "=" in word]


def test_each_demo_names_the_benchmark_that_asks_as_it_was_trained() -> None:
    shipped = [name for name in paths.names("configs") if name.startswith("demo/")]
    named = {
        name: next_commands.benchmark_of(config.load(name), own_rows=False) for name in shipped
    }
    expected = {name: ["--benchmark", name.replace("/", "_")] for name in shipped}
    assert named == expected | {"demo/lisa_grounding": ["--benchmark", "demo_grounding"]}


def test_what_was_checked_is_trained_with_the_same_words() -> None:
    words = ["--data", "my rows.jsonl", "--reward", "a b.py:f", "--reward", "c.py:g"]
    args = arguments.parse(["check", *words, "model=a b", "--limit", "3"])
    plan, train = map(parsed, next_commands.after_check(args))
    assert (plan.command, plan.dry_run, train.dry_run) == ("train", True, False)
    for name in ("data", "reward", "settings", "task", "config"):
        assert getattr(train, name) == getattr(args, name)


def test_what_was_planned_or_verified_is_trained_with_the_same_words() -> None:
    words = ["--task", "vqa", "--data", "my rows.jsonl", "model=a b", "train.max_steps=3"]
    plan, train = map(
        parsed, next_commands.after_plan(arguments.parse(["plan", *words, "--devices", "2"]))
    )
    (verified,) = map(
        parsed, next_commands.after_verify(arguments.parse(["verify-resume", *words]))
    )
    assert (plan.dry_run, train.dry_run, verified.dry_run) == (True, False, False)
    for again in (plan, train, verified):
        assert (again.task, again.data, again.settings) == ("vqa", "my rows.jsonl", words[4:])
    # a prompt that was described is no data to train on
    described = arguments.parse(["plan", "--picture", "640x480", "--words", "30"])
    assert next_commands.after_plan(described) == []


def unquoted(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and value of what an f-string puts into a command of vrft without quoting it."""
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        command = False
        for part in text.values:
            if isinstance(part, ast.Constant):
                for number, piece in enumerate(str(part.value).split("`")):
                    # A backquote begins a command, and the next one ends it.
                    command = command if not number else not command and piece[:5] == "vrft "
            elif command and isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if not value.startswith(("shlex.quote(", "shlex.join(")):
                    yield text.lineno, value


def test_every_command_in_a_message_can_be_pasted_into_a_shell() -> None:
    # in messages of every room, those of next_commands being joined for a shell as a whole
    for file in sorted((ROOT / "vrft").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert [*unquoted(tree)] == [], file
    wrong = 'print(f"go on with `vrft train --resume {folder}` or `vrft view {shlex.quote(a)}`")'
    assert len([*unquoted(ast.parse(wrong))]) == 1


def evaluation(folder: Path, **settings: object) -> Path:
    """A folder of an evaluation with settings."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "predictions.jsonl").write_text("")
    (folder / "scores.json").write_text("{}")
    return folder


def test_an_evaluation_is_shown_and_compared_with_another_of_the_same_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = arguments.parse(["eval", "--benchmark", "cvbench", "--model", "a"])
    own = evaluation(Path("runs/eval/my own"), benchmark={"name": "cvbench"}, limit=None)
    (view,) = map(parsed, next_commands.after_eval(args, own))
    assert (view.command, view.paths) == ("view", [own])
    evaluation(Path("runs/eval/others"), benchmark={"name": "geoqa"}, limit=None)
    evaluation(Path("runs/eval/fewer"), benchmark={"name": "cvbench"}, limit=3)
    Path("runs/eval/broken").mkdir()
    Path("runs/eval/broken/predictions.jsonl").write_text("")
    unfinished = evaluation(Path("runs/eval/half"), benchmark={"name": "cvbench"}, limit=None)
    (unfinished / "scores.json").unlink()
    assert next_commands.comparable(own) is None
    same = evaluation(Path("runs/eval/base"), benchmark={"name": "cvbench"}, limit=None)
    _, compare = map(parsed, next_commands.after_eval(args, own))
    assert (compare.before, compare.after) == (same, own)


def test_an_evaluation_in_a_folder_of_its_own_is_compared_with_its_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"benchmark": {"name": "cvbench"}, "limit": None}
    mine = evaluation(Path("study/after"), **asked, fingerprint={"pictures": "p"})
    elsewhere = evaluation(Path("runs/eval/base"), **asked)
    assert next_commands.comparable(mine) == elsewhere  # nothing lies beside it yet
    evaluation(Path("study/other pictures"), **asked, fingerprint={"pictures": "q"})
    assert next_commands.comparable(mine) == elsewhere
    before = evaluation(Path("study/before"), **asked, fingerprint={"pictures": "p"})
    for folder in (before, elsewhere):  # though the other is newer
        os.utime(folder / "predictions.jsonl", ns=(folder == elsewhere,) * 2)
    assert next_commands.comparable(mine) == before


def test_answers_that_were_only_scored_are_to_be_kept() -> None:
    words = ["--benchmark", "cvbench", "--predictions", "my answers.jsonl", "--limit", "2"]
    (again,) = map(parsed, next_commands.after_eval(arguments.parse(["eval", *words]), None))
    assert again.out == Path("runs/eval/cvbench-my answers")
    of_task = ["--data", "my pictures", "--predictions", "my answers.jsonl", "task=naming.py"]
    args = arguments.parse(["eval", *of_task])
    (kept,) = map(parsed, next_commands.after_eval(args, None))
    assert (kept.out, kept.data) == (Path("runs/eval/my pictures-my answers"), "my pictures")
    assert kept.settings == ["task=naming.py"]
    assert (again.predictions, again.limit) == (Path("my answers.jsonl"), 2)


def test_answers_of_a_batch_service_are_scored_with_its_settings() -> None:
    words = ["--data", "a b.jsonl", "--out", "to/requests.jsonl", "endpoint.family=qwen2_5_vl"]
    args = arguments.parse(["prompts", *words])
    (score,) = map(parsed, next_commands.after_prompts(args, args.settings))
    assert (score.command, score.data) == ("eval", "a b.jsonl")
    assert score.predictions == Path("to/requests-answers.jsonl")
    assert score.settings == ["endpoint.family=qwen2_5_vl"]
