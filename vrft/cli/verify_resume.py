"""``vrft verify-resume``: the check that a run which is killed and resumed is the run in one go.

It trains twice by its own command line, once in one go and once with a SIGKILL after a checkpoint,
and compares what both have left. Imports of rooms stand inside the functions: `vrft --help` must
not wait for torch.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vrft import launched
from vrft.cli import next_commands
from vrft.cli.configuration import resolve
from vrft.errors import UserError
from vrft.system import folder_lock

if TYPE_CHECKING:
    from vrft.config.schema import Config
    from vrft.runs.run_comparison import Count, RunDifference

TRAIN = ("-m", "vrft", "train")
"""The program that trains, in Python's words: the same that a user gives."""

OWN = {
    "train.max_steps": "give --steps",
    "train.num_train_epochs": "give --steps",
    "train.save_steps": "give --kill-at",
    "train.save_total_limit": "all checkpoints are kept",
    "train.output_dir": "give --output-dir",
    "train.logging_steps": "every step is logged",
    "train.log_completions": "every step is logged",
    "train.report_to": "no tracker is told",
}
"""Settings that the check gives by itself, and what is done in their place."""

NOT_SAVED = {
    "schedule": "a function of the step: its rates are in the metrics and with the optimizer",
    "random states": "each step seeds its own: the completions were drawn with them",
}
"""Kinds of state that runs by reward do not save, and where they show."""

EVALUATED = 4
"""Samples of ``eval.split`` at most: that a run evaluates matters here, not how well it does."""

GO, HALVES = "in-one-go", "killed-and-resumed"
"""The names of the two runs' folders."""


def verify_resume(args: argparse.Namespace) -> int:
    """Print whether a killed and resumed run is the one in one go; status 1 if they differ."""
    check_options(args)
    config = resolve(args)
    from vrft.runs import child_runs, run_comparison

    steps, at = args.steps, args.kill_at
    launcher = child_runs.launcher(args.num_processes, args.accelerate_config)
    command = [sys.executable, *launcher, *TRAIN]
    with folder_of(args.output_dir) as folder:
        go, halves = folder / GO, folder / HALVES
        fresh = [*command, "--config", str(write_config(config, folder, steps, at))]
        say(f"1 of 3: {steps} steps in one go")
        child_runs.train(folder / f"{GO}.log", [*fresh, f"train.output_dir={go}"])
        say(f"2 of 3: the same again, and a SIGKILL after the checkpoint of step {at}")
        killed = child_runs.train_and_kill(
            [*fresh, f"train.output_dir={halves}"], halves, steps, at
        )
        say(f"3 of 3: killed in step {killed}, and resumed")
        child_runs.train(folder / f"{HALVES}-2.log", [*command, "--resume", str(halves)])
        comparison = run_comparison.compare(go, halves)
        same = comparison.difference is None
        print(verdict(comparison, steps, at, killed, served=config.rollout.engine != "vrft"))
        if same:
            print("\n".join(account(comparison)))
        if args.output_dir is not None or not same:
            print(f"runs: {folder}")
        else:
            shutil.rmtree(folder)
        if same:
            next_commands.say(*next_commands.after_verify(args))
    return 0 if same else 1


def check_options(args: argparse.Namespace) -> None:
    """Raise UserError for options that leave nothing to verify, and for settings of the check."""
    if args.kill_at >= args.steps:
        raise UserError(f"--kill-at {args.kill_at}: a run of {args.steps} steps has ended by then; "
                        "give a smaller one, or more --steps")  # fmt: skip
    if launched.processes() > 1:
        raise UserError("verify-resume starts its runs by itself; leave the launcher out, and give "
                        f"--num-processes {launched.processes()}")  # fmt: skip
    if args.accelerate_config is not None and not args.accelerate_config.is_file():
        raise UserError(f"--accelerate-config {args.accelerate_config}: no such file; the shipped "
                        "ones are configs/accelerate/*.yaml")  # fmt: skip
    if args.num_processes > 1 and not Path("/proc/self/environ").is_file():
        raise UserError("--num-processes: only Linux tells which processes are a run's, to kill "
                        "them all; leave it out on this system")  # fmt: skip
    for word in args.settings:
        name = word.partition("=")[0].strip()
        if name in OWN:
            raise UserError(f"{word}: verify-resume sets {name} by itself; {OWN[name]}")


@contextlib.contextmanager
def folder_of(given: Path | None) -> Iterator[Path]:
    """Hold the folder of both runs: the one that is given, which must be new, or a temporary one.

    Raises UserError for a folder that holds something.
    """
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="vrft-verify-resume-"))
        try:
            yield folder
        except KeyboardInterrupt:
            shutil.rmtree(folder)
            raise
        return
    with folder_lock.held(given, "a check of resuming"):
        if any(path.name != folder_lock.NAME for path in given.iterdir()):
            raise UserError(f"--output-dir {given}: not empty; give a new folder")
        yield given


def write_config(config: Config, folder: Path, steps: int, at: int) -> Path:
    """Write the configuration of both runs, and return its file."""
    from vrft.config.loading import to_yaml

    train = replace(
        config.train,
        max_steps=steps,
        save_steps=at,
        save_total_limit=None,
        logging_steps=1,
        log_completions=True,
        report_to=(),
        output_dir="",
    )
    limit = config.eval.limit
    if config.eval.split:
        limit = min(limit or EVALUATED, EVALUATED)
    config = replace(config, train=train, eval=replace(config.eval, limit=limit))
    path = folder / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return path


def verdict(
    comparison: RunDifference, steps: int, at: int, killed: int, *, served: bool = False
) -> str:
    """Return the line that says whether the runs are the same, or where they differ first.

    ``served`` are the rollouts of a server.
    """
    difference = comparison.difference
    if difference is None:
        return (
            f"identical: {steps} steps in one go, and {at} steps + SIGKILL in step {killed} + "
            "--resume, bit for bit"
        )
    place, cause = "after the last step", ""
    if difference.step is not None:
        place = f"step {difference.step}"
        if difference.step <= at:
            cause = (
                f"; the kill came after step {at}: on this device two runs differ by themselves, "
                "whether resumed or not"
            )
        elif served:
            cause = (
                "; the server's answers are compared too, and where it rounds by what it computes "
                "at a time, two runs differ by themselves: see whether they do with "
                "rollout.engine=vrft"
            )
    return (
        f"first difference: {place}, {difference.place}: {difference.first} in one go, "
        f"{difference.second} killed and resumed{cause}"
    )


def account(comparison: RunDifference) -> list[str]:
    """Return what was compared, a line for each kind of file."""
    from vrft.runs import run_comparison

    rows = []
    for kind in run_comparison.ORDER:
        if (count := comparison.counts.get(kind)) is not None:
            rows.append((kind, f"{count.files:,}", f"{count.bytes:,}", content(kind, count)))
        elif kind in NOT_SAVED:
            rows.append((kind, "-", "-", NOT_SAVED[kind]))
    times = ", ".join(sorted(comparison.times))
    table = [("compared", "files", "bytes", ""), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in table
    ] + [f"not compared: settings, which name the folder, logs, and {times or 'times'}"]


def content(kind: str, count: Count) -> str:
    """Return what the files of a kind hold, in words."""
    if kind in ("metrics", "completions"):
        return f"{count.items:,} rows without gaps or repeats"
    return f"{count.items:,} tensors" if count.items else ""


def say(text: str) -> None:
    """Print a line on the progress of the check, which has no place in its result."""
    print(text, file=sys.stderr, flush=True)
