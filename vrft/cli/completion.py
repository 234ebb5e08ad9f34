"""The command ``vrft completion``: a shell script that completes commands, options and settings.

The script asks ``vrft completion SHELL --words``, which reads the line so far and prints what its
last word may become, one possibility a line; where there is none, the shell completes files.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from vrft import paths
from vrft.cli import arguments
from vrft.cli.options import Parser

SCRIPTS = {
    "bash": r"""_vrft() {
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=($(printf '%s' "$line" | "$1" completion bash --words 2>/dev/null))
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o default -F _vrft vrft
""",
    "zsh": r"""vrft_words() { "$1" completion zsh --words 2>/dev/null }
_vrft() {
    local -a lines names settings
    local name
    lines=("${(@f)$(print -rl -- "${(@)words[1,CURRENT]}" | vrft_words ${words[1]})}")
    for name in ${lines:#}; do
        [[ $name == *= ]] && settings+=("$name") || names+=("$name")
    done
    (( $#names + $#settings )) || { _files; return }
    compadd -a names
    compadd -S '' -a settings
}
compdef _vrft vrft
""",
    "fish": r"""function __vrft_words
    set -l words (commandline -opc) (commandline -ct)
    printf '%s\n' $words | $words[1] completion fish --words 2>/dev/null
end
complete -c vrft -n 'test -n "$(__vrft_words)"' -f -a '(__vrft_words)'
""",
}
"""Shell -> the script that it reads."""

BREAKS = re.compile(r".*[=:]")
"""The beginning of a word that bash keeps: it completes only what stands behind = and :."""


def completion(args: argparse.Namespace) -> int:
    """Print a shell's script, or what the last word of the line on standard input may become."""
    if not args.words:
        print(SCRIPTS[args.shell], end="")
        return 0
    line = sys.stdin.read()
    if args.shell == "bash":
        # Split at blanks alone, unlike bash's own words, which also end at = and :.
        words = [*line.split(), *([""] if line[-1:].isspace() else [])]
        kept = BREAKS.match(words[-1]) if words else None
        lines = [name[kept.end() if kept else 0 :] for name in candidates(words)]
    else:
        lines = candidates(line.removesuffix("\n").split("\n"))
    print("\n".join(lines))
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last word of a command line may become; [] where files may stand.

    The first word is ``vrft`` itself. Values of settings and of options are whole words, such as
    algorithm=gpg and --task=lisa_grounding.
    """
    if len(words) < 2:
        return []
    verb: Parser = arguments.parser()
    *given, last = words[1:]
    place = 0
    while place < len(given) and given[place] in verb.commands:
        verb, place = verb.commands[given[place]], place + 1
    option = verb.taking(given[-1]) if given else None
    name, equals, _ = last.partition("=")
    if option is not None:
        known: Iterable[str] = option_values(option)
    elif verb.commands and not last.startswith("-"):
        known = verb.commands
    elif last.startswith("-") and equals:
        taking = verb.taking(name)
        known = (f"{name}={value}" for value in (option_values(taking) if taking else ()))
    elif last.startswith("-"):
        known = verb.known_options
    elif equals and verb.takes_settings:
        values = setting_values(name) or task_settings_of(given, name).get(name, ())
        known = (f"{name}={value}" for value in values)
    else:
        names = setting_names() if verb.takes_settings else ()
        of_task = task_settings_of(given, last) if verb.takes_settings else ()
        known = [*argument_values(verb), *names, *(f"{name}=" for name in of_task)]
    return sorted({word for word in known if word.startswith(last)})


def option_values(option: argparse.Action) -> Iterable[str]:
    """Return the values of an option that are known by name."""
    if option.choices is not None:
        return [str(choice) for choice in option.choices]
    if "--task" in option.option_strings:
        return task_names()
    if "--benchmark" in option.option_strings:
        return paths.names("benchmarks")
    if "--config" in option.option_strings:
        return paths.names("configs")
    return paths.EMBEDDED if "--model" in option.option_strings else ()


def argument_values(verb: Parser) -> Iterable[str]:
    """Return the values of a command's arguments that are known by name."""
    if verb.prog in ("vrft config show", "vrft config copy"):
        return paths.names("configs")
    if verb.prog == "vrft tasks":
        return task_names()
    return [str(choice) for argument in verb.arguments for choice in argument.choices or ()]


def task_names() -> Iterable[str]:
    """Return the names of the installed tasks."""
    from vrft import registry

    return registry.names()


def task_settings_of(words: Sequence[str], last: str) -> dict[str, tuple[str, ...]]:
    """Return the settings of the line's task as they are written, with the values of those of few.

    Of a line that names no task they are those of the tasks that read own rows. {} where ``last``
    begins no such setting, as tasks are imported for it; one in a file is not, which may do
    anything.
    """
    if not any(last.startswith(start) or start.startswith(last) for start in ("task.", "data.")):
        return {}
    from vrft import registry
    from vrft.cli import task_settings
    from vrft.cli.data import TASKS

    settings: dict[str, tuple[str, ...]] = {}
    name = task_of_line(words)
    for task in (name,) if name else TASKS:
        if task not in registry.names():
            continue
        for setting in task_settings.settings_of(registry.task_class(task)):
            values = tuple(each for each in setting.values if each not in task_settings.WORDS)
            settings |= {setting.path: values, f"task.{setting.field}": values}
    return settings


def task_of_line(words: Sequence[str]) -> str:
    """Return the task that a line names, by itself or by a shipped configuration; "" for none."""
    from vrft.config import loading

    told = ""
    for before, word in zip(["", *words], words, strict=False):
        option, _, value = word.partition("=")
        if before in ("--task", "--config", "show"):
            option, value = before, word
        if option in ("--task", "task", "task.name"):
            told = value
        elif option in ("--config", "show") and value in paths.names("configs"):
            told = told or loading.load(value).task.name
    return told


def setting_names() -> list[str]:
    """Return every setting as it is written, "train.seed=", and the groups' short forms."""
    from vrft.config import loading
    from vrft.config.json_schema import SHORT
    from vrft.config.schema import Config

    return [f"{name}=" for name in (*SHORT, *loading.flat(Config()))]


def setting_values(path: str) -> Iterable[str]:
    """Return the values of a setting that are known by name, by the schema of configurations."""
    from vrft.config.json_schema import json_schema
    from vrft.config.methods import METHODS

    if path in ("task", "task.name"):
        return task_names()
    if path in ("algorithm", "algorithm.name"):
        return METHODS
    if path in ("model", "model.name"):
        return paths.EMBEDDED
    node: dict[str, Any] = json_schema()
    for name in path.split("."):
        groups = [part["properties"] for part in kinds(node) if "properties" in part]
        node = groups[0].get(name, {}) if groups else {}
    values: list[str] = []
    for kind in kinds(node):
        values += ["true", "false"] if kind.get("type") == "boolean" else []
        values += ["null"] if kind.get("type") == "null" else []
        values += [str(value) for value in kind.get("enum", ())]
    return values


def kinds(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the kinds of value that a part of a schema allows."""
    kinds: list[dict[str, Any]] = node.get("anyOf", [node])
    return kinds
