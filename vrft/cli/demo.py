"""``python -m vrft.demo``: the main job on the embedded model and data, before and after.

Everything is done by ordinary ``vrft`` commands, which are printed as they run. The pictures are
also blanked, to tell looking from guessing: a model that only learns where things tend to lie
gains as much on grey pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vrft import cli
from vrft.cli.arguments import positive
from vrft.evaluation import comparison, report, viz
from vrft.progress import duration
from vrft.types import Comparison


@dataclass(frozen=True)
class Part:
    """One row of the table: a benchmark, with its pictures or without."""

    name: str
    benchmark: str
    blanked: bool = False

    @property
    def folder(self) -> str:
        """Where its predictions lie in the folder of an evaluated model."""
        return f"{self.benchmark}{'-blank' if self.blanked else ''}"


HELD_OUT = Part("held-out pictures", "demo_grounding")
BLANKED = Part("the same, blanked", "demo_grounding", blanked=True)
UNSEEN = Part("unseen artist and backgrounds", "demo_grounding_unseen")
PARTS = (HELD_OUT, BLANKED, UNSEEN)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, train and evaluate again for each seed; 0 if every seed learned to look, else 1."""
    args = parse(argv)
    started = time.monotonic()
    out: Path = args.out or Path("runs", time.strftime("demo-%Y%m%d-%H%M%S"))
    limit = ["--limit", str(args.limit)] if args.limit else []
    evaluate("demo", out / "before", limit)
    learned = [after_training(seed, out, limit, args.settings) for seed in args.seed]
    print(f"took {duration(time.monotonic() - started)}")
    return 0 if all(learned) else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vrft.demo", description=main.__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[42], help="default: 42")
    parser.add_argument("--out", type=Path, help="a new folder; default: runs/demo-<date>-<time>")
    parser.add_argument("--limit", type=positive, help="evaluate on the first so many samples only")
    parser.add_argument("settings", nargs="*", metavar="key.path=value", help="as for vrft train")
    return parser.parse_args(argv)


def after_training(seed: int, out: Path, limit: Sequence[str], settings: Sequence[str]) -> bool:
    """Train with a seed, evaluate, print the table and write the page; whether it learned."""
    run = out / f"seed-{seed}"
    vrft(
        *("train", "--task", "lisa_grounding", "--config", "demo/lisa_grounding"),
        *(f"train.seed={seed}", f"train.output_dir={run}", *settings),
    )
    evaluate(str(run / "final"), run / "eval", limit)
    rows = [
        comparison.compare(part.name, out / "before" / part.folder, run / "eval" / part.folder)
        for part in PARTS
    ]
    page = run / "before-and-after.html"
    sections = comparison.change_sections(
        out / "before" / HELD_OUT.folder, run / "eval" / HELD_OUT.folder
    )
    html = report.comparison_page(f"Demo grounding, seed {seed}", rows, sections)
    page.write_text(html, encoding="utf-8")
    _, random = sections[0]
    viz.gallery(random[:8]).save(page.with_suffix(".jpg"), quality=88)
    print(f"\n{report.text(report.comparison_table(rows))}\n{conclusion(rows)}\npictures: {page}\n")
    return learned(rows)


def evaluate(model: str, folder: Path, limit: Sequence[str]) -> None:
    """The three evaluations of a model, each in its folder below ``folder``."""
    for part in PARTS:
        target = folder / part.folder
        vrft(
            *("eval", "--benchmark", part.benchmark, "--model", model, "--out", str(target)),
            *("--batch-size", "50", *limit),
            *(["--blank-images"] if part.blanked else []),
        )


def vrft(*argv: str) -> None:
    """Run a command of ``vrft`` as a user would and show it; SystemExit if it does not succeed."""
    print(f"$ vrft {shlex.join(argv)}", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        status = cli.main(argv)
    if status != 0:
        raise SystemExit(status)


def learned(rows: Sequence[Comparison]) -> bool:
    """Whether the gain on held-out pictures is surely above zero, and above the blanked gain."""
    gain = {row.name: row.difference for row in rows}
    return gain[HELD_OUT.name].low > 0 and gain[HELD_OUT.name].mean > gain[BLANKED.name].mean


def conclusion(rows: Sequence[Comparison]) -> str:
    """What the table says, in one sentence."""
    if learned(rows):
        return "It learned to look: the gain is above zero, and above the gain on blanked pictures."
    return "It did not learn to look: the gain, or its interval's low end, is too small."


if __name__ == "__main__":
    sys.exit(main())
