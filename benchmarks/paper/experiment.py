"""Measured runs: train a demo configuration with a seed, evaluate before and after, keep a row.

Everything is done by ordinary ``vrft`` commands in processes of their own. A run that was stopped
goes on where it stopped, and one whose row is there already is not done again.

The processes are forked from one that has imported the libraries, which takes longer than many a
run does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from vrft import cli, config
from vrft.cli.environment import versions_and_devices
from vrft.errors import UserError
from vrft.evaluation import results
from vrft.evaluation.predictions import write_json
from vrft.progress import progress
from vrft.training.run_log import read_metrics

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Cell:
    """One measured run: a configuration with settings laid over it, a seed, and its benchmark.

    ``arm`` is what the table calls it, apart from the seed. With ``blanked`` the trained model is
    also asked with blank pictures. ``asked`` are settings of the benchmark, such as "split=val".
    """

    arm: str
    config: str
    benchmark: str
    seed: int
    settings: tuple[str, ...] = ()
    blanked: bool = False
    asked: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells this run from all others that are kept with it."""
        return f"{self.arm}/seed-{self.seed}"


@dataclass(frozen=True)
class Row:
    """What a run gave: held-out scores in [0, 1], and the paired difference with its interval.

    ``epochs`` are passes over the prompts, those that were drawn in vain included; ``tokens`` those
    of all completions that were learnt from.
    """

    key: str
    arm: str
    seed: int
    config: str
    benchmark: str
    settings: tuple[str, ...]
    asked: tuple[str, ...]
    metric: str
    n: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    blanked: float | None
    epochs: float
    tokens: int
    seconds: float
    threads: int
    commit: str
    versions: Mapping[str, str]


class Page(Protocol):
    """What RESULTS.md says of rows."""

    @property
    def kept(self) -> str:
        """The name under which the rows are kept."""
        ...

    def section(self, rows: Sequence[Row]) -> str:
        """The part of RESULTS.md about them; "" if there is nothing to say."""
        ...


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all scripts here share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--threads", type=int, help="threads of each; default: cores / jobs")
    parser.add_argument(
        "--budget", type=float, default=float("inf"), help="minutes after which no run is begun"
    )
    return parser


def means(options: argparse.Namespace) -> Means:
    """What the options allow."""
    return Means(options.out, options.jobs, options.threads, options.budget)


@dataclass(frozen=True)
class Means:
    """What runs may take: a folder, runs at a time, threads of each, and minutes."""

    out: Path
    jobs: int = 1
    threads: int | None = None
    budget: float = float("inf")

    @property
    def each(self) -> int:
        """Threads of each run."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.jobs)


def measure(name: str, cells: Sequence[Cell], means: Means) -> list[Row]:
    """The rows of all cells that are done, in the order of the cells; new ones are kept as made.

    Raises UserError, with the end of what the command said, if a command fails.
    """
    kept, folder, threads = read(name), means.out / name, means.each
    missing = [cell for cell in cells if not is_done(cell, kept)]
    deadline = time.monotonic() + 60 * means.budget
    stop = Event()

    def one(cell: Cell) -> Row | None:
        begin = not stop.is_set() and time.monotonic() < deadline
        return run(cell, folder, threads) if begin else None

    with progress(len(missing), name) as shown, ThreadPoolExecutor(means.jobs) as pool:
        try:
            # the arms share their untrained model: it is asked once, before any run needs it
            firsts = {untrained(cell, folder): cell for cell in missing}
            list(pool.map(lambda f: evaluate(firsts[f], base(firsts[f]), f, threads), firsts))
            for row in pool.map(one, missing):
                if row is not None:
                    kept[row.key] = row
                    write(name, kept)
                    shown.note(f"{row.key} {100 * row.gain:+.1f}")
                    shown.advance(1)
        finally:
            stop.set()
    return [kept[cell.key] for cell in cells if cell.key in kept]


def is_done(cell: Cell, kept: Mapping[str, Row]) -> bool:
    """Whether there is a row of this very run."""
    row = kept.get(cell.key)
    wanted = (cell.config, cell.benchmark, cell.settings, cell.asked)
    return row is not None and wanted == (row.config, row.benchmark, row.settings, row.asked)


def run(cell: Cell, out: Path, threads: int) -> Row:
    """Train, evaluate, and compare with the untrained model."""
    folder = out / cell.key
    started = time.monotonic()
    train(cell, folder / "run", threads)
    trained = str(folder / "run" / "final")
    evaluate(cell, trained, folder / "after", threads)
    if cell.blanked:
        evaluate(cell, trained, folder / "blanked", threads, "--blank-images")
    found = results.compare(cell.key, untrained(cell, out), folder / "after")
    blanked = results.load_evaluation(folder / "blanked") if cell.blanked else None
    last = read_metrics(folder / "run" / "metrics.jsonl")[-1]
    return Row(
        key=cell.key,
        arm=cell.arm,
        seed=cell.seed,
        config=cell.config,
        benchmark=cell.benchmark,
        settings=cell.settings,
        asked=cell.asked,
        metric=found.metric,
        n=found.before.n,
        before=found.before.mean,
        after=found.after.mean,
        gain=found.difference.mean,
        low=found.difference.low,
        high=found.difference.high,
        blanked=blanked.report.metrics[found.metric].mean if blanked else None,
        epochs=round(last.get("epoch", 0.0), 3),
        tokens=round(last.get("num_tokens", 0.0)),
        seconds=round(time.monotonic() - started, 1),
        threads=threads,
        commit=commit(),
        versions={
            name: versions_and_devices()[name]
            for name in ("vrft", "torch", "transformers", "platform")
        },
    )


def base(cell: Cell) -> str:
    """The model that training starts from."""
    return config.load(cell.config, cell.settings).model.name


def untrained(cell: Cell, out: Path) -> Path:
    """The folder of the evaluation of the model that training starts from."""
    return out / "untrained" / "-".join([cell.benchmark, Path(base(cell)).name, *cell.asked])


def train(cell: Cell, folder: Path, threads: int) -> None:
    """A training run, from where it stopped if it was begun."""
    if (folder / "final").is_dir():
        return
    if (folder / "config.yaml").is_file():
        command(["train", "--resume", str(folder)], folder.parent, threads)
        return
    settings = [*cell.settings, f"train.seed={cell.seed}", f"train.output_dir={folder}"]
    command(["train", "--config", cell.config, *settings], folder.parent, threads)


def evaluate(cell: Cell, model: str, folder: Path, threads: int, *options: str) -> None:
    """An evaluation, from where it stopped if it was begun."""
    argv = ["eval", "--benchmark", cell.benchmark, "--model", model, "--out", str(folder)]
    command([*argv, "--batch-size", "50", *options, *cell.asked], folder.parent, threads)


def command(argv: Sequence[str], folder: Path, threads: int) -> None:
    """Run a ``vrft`` command; what it says goes to the folder's log.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log.txt"
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["vrft.training.train", "vrft.evaluation.evaluate"])
    process = forks.Process(target=perform, args=(list(argv), path, threads))
    process.start()
    process.join()
    if process.exitcode:
        last = path.read_text(encoding="utf-8").strip().splitlines()[-1]
        raise UserError(f"vrft {argv[0]} failed ({process.exitcode}): {last}; see {path}")


def perform(argv: Sequence[str], path: Path, threads: int) -> None:
    """What the process of a command does."""
    import torch

    with path.open("a", encoding="utf-8") as log:
        print("$ vrft", *argv, file=log, flush=True)
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    torch.set_num_threads(threads)
    sys.exit(cli.main(argv))


def commit() -> str:
    """The commit that is checked out, marked where files of ours differ from it.

    What the scripts write themselves is not asked about.
    """
    changed = git("status", "--porcelain", "--", "vrft", "tasks", "configs", "benchmarks/**/*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def git(*argv: str) -> str:
    """What git says about the repository; "" where there is none."""
    done = subprocess.run(["git", *argv], cwd=HERE.parents[1], capture_output=True, text=True)
    return done.stdout.strip()


def read(name: str) -> dict[str, Row]:
    """The rows that are kept under a name, by their keys."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    rows = (Row(**{name: tupled(value) for name, value in values.items()}) for values in kept)
    return {row.key: row for row in rows}


def tupled(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(value) if isinstance(value, list) else value


def write(name: str, rows: Mapping[str, Row]) -> None:
    """Keep rows under a name."""
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", [dataclasses.asdict(row) for row in rows.values()])


def by_arm(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each arm together, in the order in which arms come first."""
    arms: dict[str, list[Row]] = {}
    for row in rows:
        arms.setdefault(row.arm, []).append(row)
    yield from arms.items()


def markdown(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
