"""Pages of the site that are made from the code itself: settings.md and the table of methods."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import json
import re
import sys
import typing
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# MkDocs loads this file alone; the checkout's own package is the one that is described.
sys.path.insert(0, str(Path(__file__).parents[2]))

from vrft import cli, registry
from vrft.cli import task_settings
from vrft.config import schema
from vrft.config.remarks import remarks

INTRODUCTION = """\
# Settings

Names are TRL's, units and defaults not always: [Coming from TRL, verl or EasyR1](
others.md#coming-from-trl-verl-or-easyr1).

Every setting of a run, by the path under which `key.path=value`, a YAML file and `vrft.train` take
it. `vrft config show NAME` prints those of a configuration, and `vrft config schema` a JSON schema
by which editors complete and check them. Names are TRL's and transformers' where they have one. A
task's own settings, which `vrft tasks NAME` prints, stand at the end.

"""

TASKS = """
## The settings of a task

They are given as they stand here, and in a file below `task`. `data.columns.question=q` says that
the question stands in the column `q`.

"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site's."""
    files.append(File.generated(config, "settings.md", content=settings_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is made from the code, and give named blocks of code their titles.

    `<!-- vrft COMMAND -->` is what a command prints, `<!-- python NAME -->` the signature and
    docstring of a name.
    """
    markdown = re.sub(r"<!-- vrft (.+) -->", lambda command: printed(command[1]), markdown)
    markdown = re.sub(r"<!-- python (.+) -->", lambda name: described(name[1]), markdown)
    return re.sub(r"^```(\w+) (\S+)$", r'```\1 title="\2"', markdown, flags=re.MULTILINE)


def printed(command: str) -> str:
    """Return the output of a command of vrft as a block of text."""
    output = io.StringIO()
    with redirect_stdout(output):
        if cli.main(command.split()):
            raise RuntimeError(f"vrft {command} failed")
    return f"```text\n{output.getvalue().rstrip()}\n```"


def described(path: str) -> str:
    """Return a heading, the signature and the docstring of a class or function, by its path."""
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    signature = written(inspect.signature(value))
    text, _, example = inspect.cleandoc(value.__doc__ or "").partition("\n>>>")
    shown = f"\n\n```python\n>>>{example}\n```" if example else ""
    text = text.replace("``", "`")
    return f"### {path}\n\n```python\n{name}{signature}\n```\n\n{text}{shown}\n"


def written(signature: inspect.Signature) -> str:
    """Return a signature with each argument in a line of its own, types as they are written."""
    arguments: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        arguments.append(str(parameter).replace("'", "").replace("<factory>", "..."))
    return "(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def settings_page() -> str:
    """Return the page of all settings: a table for each group, in the order of the schema.

    Those of each task follow.
    """
    run = "\n".join(table(path, group) for path, group in groups(schema.Config))
    return INTRODUCTION + run + TASKS + "\n".join(map(task_table, registry.names()))


def task_table(name: str) -> str:
    """Return the heading and table of a task: setting, default, values, what it says of itself."""
    rows = [
        f"| `{each.path}` | `{cell(each.default_text)}` | {' '.join(each.values)} | "
        f"{cell(each.remark)} |\n"
        for each in task_settings.settings_of(registry.task_class(name))
    ]
    return f"### {name}\n\n| setting | default | values | |\n|---|---|---|---|\n{''.join(rows)}"


def groups(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yield (path, dataclass) of every group of settings, nested ones behind their own group."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            group = typing.cast(type, hints[field.name])
            yield f"{prefix}{field.name}", group
            yield from groups(group, f"{prefix}{field.name}.")


def table(path: str, group: type) -> str:
    """Return the heading and table of a group: setting, default, what it says of itself."""
    words = remarks(group)
    hints = typing.get_type_hints(group)
    rows = [
        f"| `{path}.{field.name}` | {default(field)} | {cell(words.get(field.name, ''))} |"
        for field in dataclasses.fields(group)
        if not dataclasses.is_dataclass(hints[field.name])
    ]
    heading = inspect.cleandoc(group.__doc__ or "").replace("``", "`")
    return (
        f"## {path}\n\n{heading}\n\n| setting | default | |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def default(field: dataclasses.Field[Any]) -> str:
    """Return a default as it is written in a setting."""
    value = field.default
    if value is dataclasses.MISSING:
        factory = field.default_factory
        value = factory() if factory is not dataclasses.MISSING else ""
    if value in ("", (), {}):
        return "empty"
    return f"`{json.dumps(value) if value is None or isinstance(value, bool) else value}`"


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return text.replace("``", "`").replace("|", "\\|")
