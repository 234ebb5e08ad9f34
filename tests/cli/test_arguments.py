"""The grammar of the command line: what parses, what is refused, and every command's help."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vrft import config
from vrft.cli import arguments, commands, data
from vrft.cli.options import Parser
from vrft.endpoints import endpoint_settings
from vrft.errors import UserError
from vrft.evaluation import benchmark


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        # a command that is none: the nearest one, or all
        (["tarin"], r"`vrft tarin`: no such command; did you mean 'train'\?"),
        (["evaluate", "--model", "a"], "did you mean 'eval'"),
        (["qqq"], "no such command; known: demo, "),
        (["config", "lst"], "`vrft config lst`: no such command; did you mean 'list'"),
        # too little
        (["config"], r"are required: list\|show\|copy\|schema; see `vrft config --help`"),
        (["config", "show"], r"are required: NAME\|FILE.yaml; see `vrft config show --help`"),
        # too much
        (["env", "lisa"], "unknown argument lisa; see `vrft env --help`"),
        # an option that is none: the nearest one, or a setting
        (["eval", "--modle", "a"], r"unknown option --modle; did you mean --model\?"),
        (["config", "show", "a", "--hlep"], r"unknown option --hlep; did you mean --help\?"),
        (["train", "--learning_rate", "1"], "without dashes: train.learning_rate=VALUE"),
        (["train", "--train.max-steps=3"], "without dashes: train.max_steps=VALUE"),
        (["train", "--task", "x", "--max_stpes", "3"], "without dashes: train.max_steps=VALUE"),
        (["compare", "a", "b", "--qqq"], "unknown option --qqq; see `vrft compare --help`"),
        (["show", "a"], "`vrft show`: no such command; `vrft view` shows runs, evaluations and"),
    ],
)
def test_a_malformed_command_is_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        arguments.parse(argv)
    assert "\n" not in str(caught.value)


def test_settings_may_stand_anywhere() -> None:
    args = arguments.parse(["train", "a=1", "--task", "t", "b=2", "--dry-run", "c=3"])
    assert sorted(args.settings) == ["a=1", "b=2", "c=3"]
    assert (args.task, args.dry_run) == ("t", True)


def help_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The help that a command line prints."""
    with pytest.raises(SystemExit, match="0"):
        arguments.parse(argv)
    return capsys.readouterr().out


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_every_command_begins_its_help_with_an_example_that_parses(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    example, usage, *_ = help_of(capsys, *command.split(), "--help").split("\n\n")
    assert usage.startswith(f"usage: vrft {command} ")
    assert all(len(line) <= 80 for line in example.splitlines())
    example = example.removeprefix("example:\n")
    words = shlex.split(example)
    assert words[: len(command.split()) + 1] == ["vrft", *command.split()]
    assert arguments.parse(words[1:]).command == command


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_the_settings_that_a_help_names_are_taken_by_its_command(command: str) -> None:
    verb = arguments.command_of(arguments.parser(), command.split())
    (text,) = [a.help or "" for a in verb.arguments if a.dest == "settings"] or [""]
    examples = re.findall(r"such as (\S+=[^\s,]+)", text)
    assert examples or not verb.takes_settings or command == "demo"  # it is "as for vrft train"
    for word in examples:
        if command == "data convert":
            data.check_conversion([word])
        elif word.startswith("endpoint."):
            assert endpoint_settings.load_endpoint([word], url="http://127.0.0.1:1").family
        elif command in ("eval", "prompts") and not word.startswith("model."):
            benchmark.load_benchmark("lisa_val", [word], "ReasonSeg")
        else:
            config.load("lisa_grounding", [word])


def test_commands_about_a_run_say_the_same_of_the_options_that_name_it() -> None:
    commands = arguments.parser().commands
    for option in ("--task", "--config", "--data", "--reward"):
        taking = (commands[name].taking(option) for name in ("check", "plan", "train"))
        again = commands["verify-resume"].taking(option)
        assert again is not None and again.help
        assert all(each is not None and each.help == again.help for each in taking)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_vrft_alone_prints_the_help(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert help_of(capsys, *argv) == arguments.parser().format_help()


@pytest.mark.parametrize("width", [80, 60])
def test_the_help_lists_every_command_in_two_lines_at_most(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = {command.split()[0] for command in commands.COMMANDS}
    text = help_of(capsys)
    listed = re.findall(
        r"^  (\S+) +(\S.*\n(?: {17}.*\n)*)", text.split("examples:")[0], re.MULTILINE
    )
    assert {name for name, _ in listed} == words and len(listed) == len(words)
    assert all(summary.count("\n") <= 2 for _, summary in listed)
    assert all(len(line) < width for line in text.split("examples:")[0].splitlines()[2:])


def test_the_examples_of_the_help_parse() -> None:
    assert len(arguments.EXAMPLES) == 3
    for example in arguments.EXAMPLES:
        arguments.parse(shlex.split(example)[1:])


def test_help_of_a_word_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of(capsys, "help", "train") == help_of(capsys, "train", "--help")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    with pytest.raises(SystemExit, match="0"):
        arguments.parse(["--version"])
    assert capsys.readouterr().out == f"vrft {version('vrft')}\n"


def test_a_tilde_is_home_in_every_option_that_takes_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves it as it stands in --out=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    verbs: list[Parser] = [arguments.parser()]
    seen = []
    for verb in verbs:
        verbs += verb.commands.values()
        for action in verb._actions:
            named = str(action.metavar or action.dest).upper()
            if action.nargs != 0 and re.search(r"DIR|FILE|RUN|BEFORE|AFTER|EVAL|OUT", named):
                assert str(verb._get_value(action, "~/x")) == f"{tmp_path}/x", (verb.prog, action)
                seen.append(named)
    assert len(seen) > 40 and {"NAME|FILE.PY", "OUT", "RUN|MODEL", "AFTER"} < {*seen}
