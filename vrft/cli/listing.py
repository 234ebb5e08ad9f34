"""The commands that list and show what is there: tasks, methods, configurations, versions.

Imports of rooms stand inside the commands: `vrft --help` and `vrft tasks` must not wait for torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from vrft import columns, paths
from vrft.cli import next_commands
from vrft.errors import UserError
from vrft.system import durable


def tasks(args: argparse.Namespace) -> int:
    """List the installed tasks, or the settings of one."""
    from vrft import registry

    if args.name is not None:
        from vrft.cli import task_settings

        task = registry.task_class(args.name)
        if args.json:
            print_json([setting.to_json() for setting in task_settings.settings_of(task)])
        else:
            print(task_settings.page(args.name, task))
        return 0
    print_listing(registry.names(), "summary", as_json=args.json)
    if not args.json:
        next_commands.say(["check", "--data", next_commands.OWN_ROWS])
    return 0


def algorithms(args: argparse.Namespace) -> int:
    """Print the table of training methods and the papers that they are from."""
    from vrft.config.methods import METHODS
    from vrft.objectives.algorithm_table import table_row

    rows = [table_row(name) for name in METHODS]
    if args.json:
        sources = [method.source for method in METHODS.values()]
        print_json([row | {"source": source} for row, source in zip(rows, sources, strict=True)])
        return 0
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    print(columns.aligned(table, columns.terminal_width(), headed=True))
    print("\nEach is a set of defaults for algorithm.*; they are those of:")
    print_pairs({name: method.source for name, method in METHODS.items()})
    next_commands.say(["train", "--config", "demo/lisa_grounding", "algorithm=grpo", "--dry-run"])
    return 0


def config_list(args: argparse.Namespace) -> int:
    """List the shipped configurations."""
    names = paths.names("configs")
    if args.json:
        print_json([{"name": name, "path": str(paths.find("configs", name))} for name in names])
    else:
        print("\n".join(names))
    return 0


def config_show(args: argparse.Namespace) -> int:
    """Print a configuration with every setting of the run, and those of its task that are given."""
    from vrft import config, registry
    from vrft.config import coercion

    shown = config.load(args.name, args.settings)
    task = shown.task.name
    # The file of a task may have gone; its run's settings can be looked at all the same.
    if task and not (task.endswith(".py") and not Path(task).is_file()):
        registry.check_settings(shown.task)
    if args.json:
        print_json(coercion.to_plain(shown))
        return 0
    print(config.to_yaml(shown), end="")
    if task:
        print(f"# `{next_commands.line(['tasks', task])}` lists the settings that the task has")
    return 0


def config_copy(args: argparse.Namespace) -> int:
    """Copy a shipped configuration, never over a file that is there already."""
    source = paths.find("configs", args.name)
    target: Path = args.to or Path(source.name)
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"{target}: a configuration is known by its ending; name it {target}.yaml")
    if target.exists():
        raise UserError(f"{target} exists already; give another name: vrft config copy NAME FILE")
    try:
        durable.write_text(target, source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    print(target)
    next_commands.say(["train", "--config", str(target), "--dry-run"])
    return 0


def config_schema(args: argparse.Namespace) -> int:
    """Print the JSON schema of a configuration file."""
    from vrft.config.json_schema import json_schema

    print_json(json_schema())
    return 0


def env(args: argparse.Namespace) -> int:
    """Print versions and devices."""
    from vrft.checks import environment

    known = environment.versions_and_devices()
    if args.json:
        print_json(known)
    else:
        print_pairs(known)
    return 0


def print_listing(pairs: Mapping[str, str], column: str, *, as_json: bool) -> None:
    """Print names and what they are, or a list of objects with "name" and ``column``."""
    if as_json:
        print_json([{"name": name, column: text} for name, text in pairs.items()])
    else:
        print_pairs(pairs)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print two columns, the first as wide as its longest entry."""
    print(columns.aligned(list(pairs.items()), columns.terminal_width()))


def print_json(tree: object) -> None:
    """Print a tree of lists and objects as indented JSON."""
    print(json.dumps(tree, indent=2, ensure_ascii=False))
