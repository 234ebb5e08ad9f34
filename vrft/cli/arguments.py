"""The grammar of the command line: every command in its place, and what a slip may have meant."""

from __future__ import annotations

import argparse
import difflib
import math
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from vrft import paths
from vrft.cli import evaluation_verbs, training_verbs
from vrft.cli.options import OVERRIDES, Parser, add_group, add_json, add_settings, add_verb
from vrft.errors import UserError

SECTIONS = {
    "begin": ("demo", "env"),
    "your data, and what a run will take": ("check", "plan", "data"),
    "train": ("train", "verify-resume"),
    "evaluate and look": ("eval", "compare", "view", "prompts"),
    "hand on": ("export",),
    "what there is": ("tasks", "algorithms", "config", "completion"),
}
"""The commands in the order in which a user needs them, under their headings."""

ELSEWHERE = {"show": "`vrft view` shows runs, evaluations and their answers, the worst first"}
"""Words that name no command -> the command that does what they say."""

EXAMPLES = (
    "vrft demo train.max_steps=50",
    "vrft check --data rows.jsonl",
    "vrft train --data rows.jsonl model=Qwen/Qwen2-VL-2B-Instruct",
)
"""Commands with which to begin."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command, with ``key.path=value`` settings anywhere among them.

    Raises UserError for a word that the command does not know, and SystemExit for help, which no
    word at all asks for too.
    """
    words = [*argv[1:], "--help"] if list(argv[:1]) == ["help"] else list(argv)
    root = parser()
    verb = command_of(root, words)
    # argparse takes positional words in one piece only: a setting behind the next option is left
    # over, and so is a misspelt option. Options begin with a dash, settings do not.
    args, rest = root.parse_known_args(words or ["--help"])
    takes_settings = "settings" in args
    for word in rest:
        if word.startswith("-"):
            raise UserError(f"unknown option {word}; {correction(verb, word, takes_settings)}")
        if not takes_settings:
            raise UserError(f"unknown argument {word}; see `{verb.prog} --help`")
    if takes_settings:
        args.settings = [*args.settings, *rest]
    return args


def command_of(root: Parser, words: Sequence[str]) -> Parser:
    """Return the parser of the command that the first words name.

    Raises UserError, with the nearest command, for one that there is not.
    """
    verb = root
    for word in words:
        if word.startswith("-") or not verb.commands:
            break
        if word not in verb.commands:
            near = ELSEWHERE.get(word) or paths.suggest(word, list(verb.commands))
            raise UserError(f"`{verb.prog} {word}`: no such command; {near}")
        verb = verb.commands[word]
    return verb


def correction(verb: Parser, word: str, takes_settings: bool) -> str:
    """Return what to write for an option that a command does not know."""
    name = word.partition("=")[0]
    if near := difflib.get_close_matches(name, verb.known_options, n=1, cutoff=0.7):
        return f"did you mean {near[0]}?"
    if takes_settings:
        from vrft.config import loading
        from vrft.config.schema import Config

        # Written as for other trainers: --learning_rate 1e-6
        leaf = name.lstrip("-").replace("-", "_").rpartition(".")[2]
        settings = {path.rpartition(".")[2]: path for path in loading.flat(Config())}
        if near := difflib.get_close_matches(leaf, settings, n=1, cutoff=0.75):
            return f"a setting is given without dashes: {settings[near[0]]}=VALUE"
    return f"see `{verb.prog} --help`"


class Root(Parser):
    """The parser of ``vrft`` itself, whose help teaches where to begin."""

    def format_help(self) -> str:
        """Return the commands under their headings, and three examples."""
        lines = ["vrft makes a Qwen-VL model better at a task whose answers can be checked.", ""]
        for heading, names in SECTIONS.items():
            lines.append(f"{heading}:")
            lines += [
                textwrap.fill(
                    self.commands[name].summary,
                    width=shutil.get_terminal_size().columns - 1,
                    initial_indent=f"  {name:<15}",
                    subsequent_indent=" " * 17,
                )
                for name in names
            ]
        lines += ["", "examples:", *(f"  {example}" for example in EXAMPLES), ""]
        lines.append("`vrft COMMAND --help` has an example and every option of a command")
        return "\n".join(lines) + "\n"


def parser() -> Root:
    """Return the parser of all commands."""
    root = Root(prog="vrft")
    root.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    verbs = root.add_subparsers(metavar="command", required=True, parser_class=Parser)
    root.commands = verbs.choices
    for add in (*training_verbs.ADDED, *evaluation_verbs.ADDED, add_config, add_data):
        add(verbs)
    verb = add_verb(
        verbs, "tasks", "list the tasks, or the settings of one", "vrft tasks grounding"
    )
    verb.add_argument(
        "name",
        nargs="?",
        type=paths.at_home,
        metavar="NAME|FILE.py",
        help="the task whose settings are listed",
    )
    add_json(verb)
    add_json(add_verb(verbs, "algorithms", "compare the training methods", "vrft algorithms"))
    add_json(add_verb(verbs, "env", "print versions and devices, for bug reports", "vrft env"))
    add_completion(verbs)
    return root


class Version(argparse.Action):
    """The action of ``--version``, unlike argparse's own without the version at hand."""

    def __call__(self, *_: Any) -> NoReturn:
        """Print the version and exit."""
        # Reading the package's metadata takes longer than all the rest of `vrft --help`.
        from importlib.metadata import version

        print("vrft", version("vrft"))
        raise SystemExit(0)


def add_completion(verbs: Any) -> None:
    """Add ``vrft completion``."""
    summary = "print the script by which a shell completes commands, options and settings"
    verb = add_verb(verbs, "completion", summary, "vrft completion bash")
    verb.add_argument(
        "shell",
        choices=("bash", "zsh", "fish"),
        help='the shell: `eval "$(vrft completion bash)"` in ~/.bashrc, the same with zsh in '
        "~/.zshrc behind compinit, `vrft completion fish | source` in config.fish",
    )
    verb.add_argument("--words", action="store_true", help="complete the line on standard input")


def add_config(verbs: Any) -> None:
    """Add ``vrft config list``, ``show``, ``copy`` and ``schema``."""
    summary = "list, show or copy the shipped configurations"
    actions = add_group(verbs, "config", summary, "vrft config list", "list|show|copy|schema")
    add_json(add_verb(actions, "list", "list the shipped configurations", "vrft config list"))
    verb = add_verb(
        actions,
        "show",
        "print a configuration with every setting of a run, and those of its task that are given",
        "vrft config show demo/lisa_grounding train.max_steps=20",
    )
    verb.add_argument("name", type=paths.at_home, metavar="NAME|FILE.yaml")
    add_json(verb)
    add_settings(verb, OVERRIDES.format(example="train.learning_rate=1e-6"))
    verb = add_verb(
        actions,
        "copy",
        "copy a shipped configuration, to edit it",
        "vrft config copy lisa_grounding my_run.yaml",
    )
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("to", type=Path, nargs="?", metavar="FILE", help="default: NAME.yaml here")
    summary = "print the JSON schema of a configuration, for editors"
    add_verb(actions, "schema", summary, "vrft config schema")


def add_data(verbs: Any) -> None:
    """Add ``vrft data convert`` and ``filter``."""
    example = "vrft data convert --from rows.jsonl --to swift --out swift.jsonl"
    summary = "write data in another tool's format, or those that can still teach"
    actions = add_group(verbs, "data", summary, example, "convert|filter")
    verb = add_verb(
        actions,
        "convert",
        "write data in another format",
        "vrft data convert --from rows.jsonl --to swift --out swift.jsonl",
    )
    source: dict[str, Any] = {"dest": "source", "metavar": "DIR|FILE|ID", "type": paths.at_home}
    verb.add_argument("--from", required=True, help="data of any known format", **source)
    verb.add_argument("--to", required=True, metavar="FORMAT", help="trl, llava, swift, coco ...")
    verb.add_argument("--out", required=True, type=Path, metavar="FILE|DIR", help="a new file")
    verb.add_argument("--split", default="train", metavar="NAME", help="default: train")
    add_settings(verb, "how the rows are read, such as data.boxes=fractions")
    add_filter(actions)


def add_filter(actions: Any) -> None:
    """Add ``vrft data filter``."""
    verb = add_verb(
        actions,
        "filter",
        "write the rows of a run's data that it found neither too hard nor too easy",
        "vrft data filter --by difficulty --run RUN --max-pass-rate 0.9 hard.jsonl",
    )
    verb.add_argument("--by", required=True, choices=["difficulty"], help="what decides")
    verb.add_argument("--run", required=True, type=Path, metavar="RUN", help="the run's folder")
    verb.add_argument(
        "--data",
        type=paths.at_home,
        metavar="DIR|FILE|ID",
        help="where the run's data lie now; default: as it had them",
    )
    for name, words in {
        "pass-rate": "share of answers whose rewards were all full",
        "reward": "mean weighted reward",
    }.items():
        for end in ("min", "max"):
            verb.add_argument(
                f"--{end}-{name}", type=number, metavar="X", help=f"{end}imum {words}"
            )
    verb.add_argument(
        "--unsampled",
        choices=["keep", "drop"],
        default="keep",
        help="what becomes of rows that the run has not sampled; default: keep",
    )
    verb.add_argument("out", type=Path, metavar="OUT.jsonl", help="a new file")


def number(text: str) -> float:
    """Return a finite number; ArgumentTypeError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r:.40}")
    return value
