"""The page RESULTS.md: what the fuzzer tried, what large data cost, what faults do, from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.publishing import markdown

HERE = Path(__file__).parent

HEAD = """# Reliability

Made by `python benchmarks/reliability/fuzz.py --publish`, `load.py --publish` and `faults.py
--publish`, not edited by hand.
"""

FUZZ = """## Fuzzing

Hypothesis draws inputs of pieces that mean something to the reader, and each is tried again with
bytes changed, cut out and repeated; of COCO mostly values of the JSON are changed, so that it is
read and scored. `fuzz.py --engine atheris` (`pip install "vrft[fuzz]"`) begins with the same inputs
and goes on from those that reach new lines of code. Every target has a process of its own, within
6 GB, on one core. An undeclared error is any exception but the UserError of a reader of data or
settings (a parser of answers may raise nothing), an input that takes over two seconds of a
processor, or a number that is not finite. Where every input goes to several readers, their refusals
are not counted.
"""

LOAD = """## Load

Measured on one core, each in a process of its own, with its peak of resident memory.
"""

FAULTS = """## Faults

Outcomes of `make test-faults` and `make test-distributed`, told by the tests themselves. The
largest difference is that of any weight of `final`, between a run that met the fault and one that
did not, or between two processes and one; 0 is bit for bit. Beside it stands how far training has
moved a weight. A run that cannot go on has an end in its place.
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


def faults_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of faults in Markdown; a difference of 0 is bit for bit."""
    cells = [
        (row["fault"], row["engine"], row["passed"], row["failed"], number(row["difference"]),
         number(row["moved"]), row["end"])
        for row in rows
    ]  # fmt: skip
    header = ("fault", "engine", "passed", "failed", "largest difference", "training moved", "end")
    return markdown(header, cells)


def number(value: float | None) -> str:
    """Return a difference as a table shows it."""
    return "" if value is None else f"{value:.1e}" if value else "0"


def source(measured: Mapping[str, Any]) -> str:
    """Return in words where numbers are from."""
    return ", ".join(f"{name} {value}" for name, value in measured.items())


def page(folder: Path = HERE) -> str:
    """Return the page of all that has been measured into a folder."""
    parts = [HEAD]
    fuzzed, loaded, met = (folder / f"{name}.json" for name in ("fuzz", "load", "faults"))
    if fuzzed.is_file():
        runs = json.loads(fuzzed.read_text(encoding="utf-8"))
        where = "; ".join(source(run["measured"]) for run in runs)
        parts += [FUZZ, fuzz_table(runs) + "\n", f"Runs: {where}.\n"]
    if loaded.is_file():
        tree = json.loads(loaded.read_text(encoding="utf-8"))
        parts += [LOAD, load_table(tree) + "\n", f"Measured with {source(tree['measured'])}.\n"]
    if met.is_file():
        tree = json.loads(met.read_text(encoding="utf-8"))
        parts += [FAULTS, faults_table(tree["rows"]) + "\n"]
        counted = ", ".join(f"{count} {name}" for name, count in tree["tests"].items())
        parts += [f"Tests: {counted}. Measured with {source(tree['measured'])}.\n"]
    return "\n".join(parts)


def write(folder: Path = HERE) -> None:
    """Write RESULTS.md into the folder of what has been measured."""
    (folder / "RESULTS.md").write_text(page(folder), encoding="utf-8")
