"""What the parsers of commands are made of: a command, options that several have, a number."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from vrft import paths
from vrft.errors import UserError


class Parser(argparse.ArgumentParser):
    """The parser of a command, whose help begins with an example.

    A mistake is reported in one line, as in the rest of the toolkit.
    """

    summary = example = ""
    commands: Mapping[str, Parser] = {}
    """The parsers of the commands below this one, by name."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", Path, paths.expanded)

    def format_help(self) -> str:
        """Return the help, the example first."""
        text = super().format_help()
        return f"example:\n  {self.example}\n\n{text}" if self.example else text

    def error(self, message: str) -> NoReturn:
        """Raise UserError, instead of argparse's usage text and exit."""
        raise UserError(f"{message}; see `{self.prog} --help`")

    @property
    def known_options(self) -> list[str]:
        """Return the options of the command, such as "--config"."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    @property
    def arguments(self) -> list[argparse.Action]:
        """Return the arguments that are given by their place, without those below a command."""
        return [] if self.commands else [a for a in self._actions if not a.option_strings]

    @property
    def takes_settings(self) -> bool:
        """Return whether the command takes ``key.path=value`` settings."""
        return any(argument.dest == "settings" for argument in self.arguments)

    def taking(self, name: str) -> argparse.Action | None:
        """Return the option of this name that takes a value; None for any other word."""
        option = self._option_string_actions.get(name)
        return option if option is not None and option.nargs != 0 else None


def add_verb(verbs: Any, name: str, summary: str, example: str) -> Parser:
    """Add a command with its one-line summary and an example; return its parser.

    ``command`` of the parsed arguments is then its name, "config list" for one of two words.
    """
    verb: Parser = verbs.add_parser(name, description=summary[0].upper() + summary[1:] + ".")
    verb.summary, verb.example = summary, example
    # The parser knows its place among the verbs: "vrft config list".
    verb.set_defaults(command=verb.prog.removeprefix("vrft "))
    return verb


def add_group(verbs: Any, name: str, summary: str, example: str, words: str) -> Any:
    """Add the first word of commands of two words, such as "config"; return where they are added.

    ``words`` are the second ones, as a message names them: "list|show|copy".
    """
    group = add_verb(verbs, name, summary, example)
    actions = group.add_subparsers(metavar=words, required=True)
    group.commands = actions.choices
    return actions


OVERRIDES = "settings that override the file's, such as {example}"
"""The help of settings over a file, with one that the command takes."""


def add_settings(verb: Parser, text: str) -> None:
    """Add the ``key.path=value`` settings that a command takes, with their help."""
    verb.add_argument(
        "settings",
        nargs="*",
        default=[],  # and not None: `parse` adds the settings that stand between options
        metavar="key.path=value",
        help=text,
    )


def add_run(verb: Parser, example: str) -> None:
    """Add what says which run a command is about: its task, file, data, rewards and settings.

    ``example`` is a setting, for the help. All are read by ``configuration.configured``.
    """
    verb.add_argument(
        "--task",
        type=paths.at_home,
        metavar="NAME|FILE.py",
        help="a name of `vrft tasks`, or a file",
    )
    verb.add_argument(
        "--config",
        type=paths.at_home,
        metavar="NAME|FILE.yaml",
        help="a name of `vrft config list`, or a file; default: the one named like the task",
    )
    verb.add_argument(
        "--data",
        type=paths.at_home,
        metavar="DIR|FILE|ID",
        help="the data, short for task.data_dir=...; without --task, rows of any known format, "
        "which choose vqa or grounding",
    )
    verb.add_argument(
        "--reward",
        type=paths.at_home,
        action="append",
        default=[],
        metavar="FILE.py:FUNCTION[=WEIGHT]",
        help="a reward function written for TRL, beside the task's own rewards; may be repeated",
    )
    add_settings(verb, OVERRIDES.format(example=example))


def add_json(verb: Parser) -> None:
    """Add ``--json``, by which a command prints its result for other programs."""
    verb.add_argument("--json", action="store_true", help="print the result as JSON")


def add_processor(verb: Parser) -> None:
    """Add ``--processor``, by which the pictures of an endpoint are resized."""
    verb.add_argument(
        "--processor",
        type=paths.at_home,
        metavar="DIR|ID",
        help="the model's folder or hub id: an endpoint is sent pictures as its processor resizes "
        "them; or give endpoint.family=NAME",
    )


def positive(text: str) -> int:
    """Return a whole number above zero; ArgumentTypeError for anything else."""
    # int() would also take " 8", "8_0" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above zero, got {text!r}")
    return int(text)


def split_names(text: str) -> list[str]:
    """Return the splits of a list such as "train, test"; ArgumentTypeError for one without name."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names of splits A,B, got {text!r}")
    return names
