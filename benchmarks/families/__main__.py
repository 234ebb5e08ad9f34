"""The equality table: on every family the shared prefix computes what plain repeated rows do.

python -m benchmarks.families [--families qwen3_vl ...]

It is written to RESULTS.md and results.json where all families were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.families.equality import Row, measure
from benchmarks.publishing import commit, markdown, versions

HERE = Path(__file__).parent

HEAD = """# Every model family: the shared prefix equals plain repeated rows

Made by `python -m benchmarks.families`, not edited by hand. Tiny models of the true classes in
float32 on a CPU, with four layers: three prompts (one picture, two of other sizes, none), three
unequal completions each. The plain way is transformers' own forward with a copy of the prompt for
every completion. Differences are the largest over all weights and LoRA, with and without gradient
checkpointing: of a log-probability, and the norm of the gradients' difference over the gradient's
norm. Greedy: all tokens of both ways' greedy completions are the same.
"""


def table(rows: Iterable[Row]) -> str:
    """Return the table in Markdown, a row for a family."""
    header = ("family", "class", "parameters", "log-probability", "gradient", "greedy equal")
    return markdown(header, (line(row) for row in rows))


def line(row: Row) -> tuple[str, ...]:
    """Return a family's cells."""
    logps = max(d.logps for d in row.distances)
    gradient = max(d.gradient for d in row.distances)
    greedy = "yes" if all(d.greedy for d in row.distances) else "NO"
    numbers = f"{row.parameters:,}", f"{logps:.1e}", f"{gradient:.1e}"
    return row.family, row.model, *numbers, greedy


def publish(rows: Sequence[Row], folder: Path = HERE) -> list[Path]:
    """Write results.json and RESULTS.md, and return their paths."""
    source = {
        "commit": commit(),
        **versions(("vrft", "torch", "transformers", "peft", "platform")),
    }
    results, page = folder / "results.json", folder / "RESULTS.md"
    kept = {"measured": source, "families": [asdict(row) for row in rows]}
    results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    by = ", ".join(f"{name} {value}" for name, value in source.items())
    page.write_text(f"{HEAD}\n{table(rows)}\n\nMeasured at {by}.\n", encoding="utf-8")
    return [results, page]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table; write it where all families were measured; 1 if one differs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from vrft.models.families import FAMILIES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=[*FAMILIES])
    options = parser.parse_args(argv)
    rows = [measure(family) for family in options.families]
    print(table(rows))
    if options.families == [*FAMILIES]:
        print(*publish(rows), sep="\n")
    return 0 if all(row.equal for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
