"""The grammar of the command line: what parses, what is refused, and every command's help."""

from __future__ import annotations

import pytest

from vrft.cli import arguments, commands
from vrft.errors import UserError


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        # no command, and one that is none
        ([], "are required: command; see `vrft --help`"),
        (["tarin"], r"invalid choice: 'tarin' \(choose from"),
        # too little
        (["config"], "are required: action; see `vrft config --help`"),
        (["config", "show"], r"are required: NAME\|FILE.yaml; see `vrft config show --help`"),
        (["show"], r"are required: FILE\|DIR"),
        # too much
        (["tasks", "lisa"], "unknown argument lisa; see `vrft tasks --help`"),
        (["train", "--task", "x", "--stpes", "3"], "unknown argument --stpes; see `vrft train"),
        (["eval", "--model", "a", "--predictions", "b"], "not allowed with argument --model"),
        # numbers
        (["eval", "--limit", "0"], "argument --limit: expected a whole number above zero"),
        (["eval", "--batch-size", "8.5"], "expected a whole number above zero, got '8.5'"),
    ],
)
def test_a_malformed_command_is_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        arguments.parse(argv)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    # nothing, zero, a sign, a point, and what int() would take
    ["", "0", "-1", "+1", "1.0", " 8", "8_0", "\u0663"],
)
def test_a_positive_number_is_written_in_plain_digits(text: str) -> None:
    with pytest.raises(Exception, match="expected a whole number above zero"):
        arguments.positive(text)


def test_settings_may_stand_anywhere() -> None:
    args = arguments.parse(["train", "a=1", "--task", "t", "b=2", "--dry-run", "c=3"])
    assert sorted(args.settings) == ["a=1", "b=2", "c=3"]
    assert (args.task, args.dry_run) == ("t", True)


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_every_command_has_an_example_that_parses(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit, match="0"):
        arguments.parse([*command.split(), "--help"])
    example = capsys.readouterr().out.split("example:\n")[1].split()
    assert example[: len(command.split()) + 1] == ["vrft", *command.split()]
    assert arguments.parse(example[1:]).command == command


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        arguments.parse(["--help"])
    listed = capsys.readouterr().out.split()
    assert {command.split()[0] for command in commands.COMMANDS} <= set(listed)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    with pytest.raises(SystemExit, match="0"):
        arguments.parse(["--version"])
    assert capsys.readouterr().out == f"vrft {version('vrft')}\n"
