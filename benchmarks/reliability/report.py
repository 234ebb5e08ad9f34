"""The page RESULTS.md: what the fuzzer tried and what large data cost, from the measured JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.publishing import markdown

HERE = Path(__file__).parent

HEAD = """# Reliability

Made by `python benchmarks/reliability/fuzz.py --publish` and `load.py --publish`, not edited by
hand.
"""

FUZZ = """## Fuzzing

Hypothesis draws inputs of pieces that mean something to the reader, and each is tried again with
bytes changed, cut out and repeated. Every target has a process of its own, within 6 GB, on one
core. An undeclared error is any exception but the UserError of a reader of data or settings (a
parser of answers may raise nothing), an input that takes over two seconds, or a number that is not
finite. Where every input goes to several readers, their refusals are not counted.
"""

LOAD = """## Load

Measured on one core, each in a process of its own, with its peak of resident memory.
"""


def fuzz_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the fuzzer's runs in Markdown, a row for a target and one for all."""
    names = list(dict.fromkeys(t["target"] for run in runs for t in run["targets"]))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        tried = [t for run in runs for t in run["targets"] if t["target"] == name]
        inputs, refused = (sum(t[key] for t in tried) for key in ("inputs", "refused"))
        seconds = sum(t["seconds"] for t in tried)
        errors = {error for t in tried for error in t["errors"]}
        rows.append((name, inputs, refused, seconds, len(errors)))
    total = ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    cells = [
        (n, f"{i:,}", f"{r:,}" if r else "", f"{s:.0f}", e) for n, i, r, s, e in (*rows, total)
    ]
    return markdown(("target", "inputs", "refused", "s", "undeclared errors"), cells)


def load_table(tree: Mapping[str, Any]) -> str:
    """Return the table of large data in Markdown, a row for a command."""
    rows = [
        (row["what"], f"{row['seconds']:.1f}", f"{row['peak_mb']:,.0f}", row["note"],
         row["commit"], row["date"])
        for row in tree["rows"]
    ]  # fmt: skip
    return markdown(("what", "s", "peak MB", "", "commit", "date"), rows)


def source(measured: Mapping[str, Any]) -> str:
    """Return in words where numbers are from."""
    return ", ".join(f"{name} {value}" for name, value in measured.items())


def page(folder: Path = HERE) -> str:
    """Return the page of all that has been measured into a folder."""
    parts = [HEAD]
    fuzzed, loaded = (folder / name for name in ("fuzz.json", "load.json"))
    if fuzzed.is_file():
        runs = json.loads(fuzzed.read_text(encoding="utf-8"))
        where = "; ".join(source(run["measured"]) for run in runs)
        parts += [FUZZ, fuzz_table(runs) + "\n", f"Runs: {where}.\n"]
    if loaded.is_file():
        tree = json.loads(loaded.read_text(encoding="utf-8"))
        parts += [LOAD, load_table(tree) + "\n", f"Measured with {source(tree['measured'])}.\n"]
    return "\n".join(parts)


def write(folder: Path = HERE) -> None:
    """Write RESULTS.md into the folder of what has been measured."""
    (folder / "RESULTS.md").write_text(page(folder), encoding="utf-8")
