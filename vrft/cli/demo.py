"""Demo: the embedded model on the embedded data, evaluated, trained, and evaluated again.

Everything is done by ordinary ``vrft`` commands, which are printed as they run. All pictures are
also shown blanked, to tell looking from guessing: a model that only learns where objects tend to
lie gains as much on grey pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vrft.cli import next_commands
from vrft.progress import duration

if TYPE_CHECKING:
    from vrft.types import Comparison

Command = Callable[[Sequence[str]], int]
"""Command line of ``vrft``: takes the arguments and returns the exit status."""

OWN_ROW = '{"images": ["a.jpg"], "question": "How many cups?", "answer": 3}'
"""A row as a user may write it."""


@dataclass(frozen=True)
class Part:
    """A row of the table: a benchmark, with its pictures or with blanked ones."""

    name: str
    benchmark: str
    blanked: bool = False

    @property
    def folder(self) -> str:
        """Return the name of its folder among the evaluations of a model."""
        return f"{self.benchmark}{'-blank' if self.blanked else ''}"


HELD_OUT = Part("held-out pictures", "demo_grounding")
BLANKED = Part("the same, blanked", "demo_grounding", blanked=True)
UNSEEN = Part("unseen artist and backgrounds", "demo_grounding_unseen")
PARTS = (HELD_OUT, BLANKED, UNSEEN)
"""Rows of the table, in its order."""

PAGE = "before-and-after"
"""The folder of a run's page, and the picture of some answers beside it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options, and the settings of its training, to a parser."""
    parser.add_argument("--seed", type=int, nargs="+", default=[42], help="default: 42")
    parser.add_argument("--out", type=Path, help="a new folder; default: runs/demo-<date>-<time>")
    # Handed on as it is typed: ``vrft eval`` checks it.
    parser.add_argument("--limit", help="evaluate on the first so many samples only")
    parser.add_argument("settings", nargs="*", metavar="key.path=value", help="as for vrft train")


def run(args: argparse.Namespace, command: Command) -> int:
    """Evaluate, and train and evaluate again for each seed.

    Returns 0 if every seed learned to look, else 1. Raises SystemExit with the status of a command
    that does not succeed.
    """
    started = time.monotonic()
    out: Path = args.out or Path("runs", time.strftime("demo-%Y%m%d-%H%M%S"))
    limit = [] if args.limit is None else ["--limit", args.limit]
    evaluate(command, "demo", out / "before", limit)
    # A list, not a generator: every seed is trained, also after one that did not learn.
    learned = [train_and_compare(command, seed, out, limit, args.settings) for seed in args.seed]
    print(f"took {duration(time.monotonic() - started)}")
    print("your own rows, one a line: " + OWN_ROW)
    next_commands.say(
        ["check", "--data", next_commands.OWN_ROWS], ["view", str(out / f"seed-{args.seed[0]}")]
    )
    return 0 if all(learned) else 1


def train_and_compare(
    command: Command, seed: int, out: Path, limit: Sequence[str], settings: Sequence[str]
) -> bool:
    """Train with a seed, evaluate, print the table and write the page of the comparison.

    Returns whether the model learned to look.
    """
    # Here, so that ``vrft --help`` does without them.
    from vrft import viz
    from vrft.evaluation import comparison, report, table_text
    from vrft.viewer import export, views

    run_folder = out / f"seed-{seed}"
    call(
        command,
        *("train", "--task", "lisa_grounding", "--config", "demo/lisa_grounding"),
        *(f"train.seed={seed}", f"train.output_dir={run_folder}", *settings),
    )
    before, after = out / "before", run_folder / "eval"
    evaluate(command, str(run_folder / "final"), after, limit)
    table = [
        comparison.compare(part.name, before / part.folder, after / part.folder) for part in PARTS
    ]
    held_out = before / HELD_OUT.folder, after / HELD_OUT.folder
    page = export.export(views.open_site(held_out), run_folder / PAGE)
    _, random = comparison.change_sections(*held_out)[0]
    viz.gallery(random[:8]).save(run_folder / f"{PAGE}.jpg")
    shown = table_text.text(report.comparison_table(table))
    print(f"\n{shown}\n{conclusion(table)}\npictures: {page}\n")
    return learned_to_look(table)


def evaluate(command: Command, model: str, folder: Path, limit: Sequence[str]) -> None:
    """Evaluate a model on all parts, each into its folder below ``folder``."""
    for part in PARTS:
        target = folder / part.folder
        call(
            command,
            *("eval", "--benchmark", part.benchmark, "--model", model, "--out", str(target)),
            *("--batch-size", "50", *limit),
            *(["--blank-images"] if part.blanked else []),
        )


def call(command: Command, *argv: str) -> None:
    """Print a command as a user would type it and run it; raise SystemExit if it fails."""
    print(f"$ vrft {shlex.join(argv)}", flush=True)
    # In this process, so that torch is imported once; the demo's own table replaces the tables that
    # the commands print. Progress and errors go to standard error and stay visible.
    with contextlib.redirect_stdout(io.StringIO()):
        status = command(argv)
    if status != 0:
        raise SystemExit(status)


def learned_to_look(table: Sequence[Comparison]) -> bool:
    """Return whether the held-out gain is surely above zero, and above the gain when blanked."""
    gain = {row.name: row.difference for row in table}
    # The low end of the interval, as a mean above zero may be chance.
    return gain[HELD_OUT.name].low > 0 and gain[HELD_OUT.name].mean > gain[BLANKED.name].mean


def conclusion(table: Sequence[Comparison]) -> str:
    """Return the table's meaning in one sentence."""
    if learned_to_look(table):
        return "It learned to look: the gain is above zero, and above the gain on blanked pictures."
    return "It did not learn to look: the gain, or its interval's low end, is too small."
