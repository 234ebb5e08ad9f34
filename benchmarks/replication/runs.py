"""Carrying out a trial: an ordinary ``vrft train``, then ``vrft eval`` of its checkpoints."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

from benchmarks import lifeline, publishing
from benchmarks.replication.beds import Bed, fingerprint
from benchmarks.replication.ledger import Row, Trial
from benchmarks.replication.trials import settings_of
from vrft import cli, config, policy
from vrft.config.schema import ModelConfig
from vrft.demo import tiny
from vrft.errors import UserError
from vrft.runs.run_log import read_metrics

LESSON_POINTS = 30
"""Checkpoints of the lessons, of which one becomes the start."""

ASKED = Lock()
"""Held while a start is evaluated, for which a run beside this one waits."""


def make_start(bed: Bed, out: Path) -> Path:
    """Make a bed's start from random weights, keep it in starts/, and return its folder.

    The start is the first of the checkpoints that answers ``competent`` of the questions of "val".
    Rows of a start before it count no more. Raises UserError if no checkpoint does.
    """
    folder = out / f"{bed.name}-start"
    shutil.rmtree(folder, ignore_errors=True)
    model = tiny.write(folder / "random", bed.family, bed.size, 0, bed.vocabulary)
    settings = [
        "algorithm=sft",
        "model.dtype=float32",
        f"model.name={model}",
        f"task.rows={bed.lesson_steps * bed.lessons}",
        # Another stream than that of any run.
        "task.seed=1",
        f"train.max_steps={bed.lesson_steps}",
        f"train.per_device_train_batch_size={bed.lessons}",
        f"train.learning_rate={bed.lesson_rate:g}",
        "train.lr_scheduler_type=constant",
        "train.adam_beta2=0.99",
        f"train.save_steps={bed.lesson_steps // LESSON_POINTS}",
        "train.save_total_limit=null",
        "train.seed=0",
        f"train.output_dir={folder / 'run'}",
    ]
    command(["train", "--task", str(bed.task), *settings], folder)
    scores = checkpoint_scores(bed, folder / "run", "val")
    step = next((step for step in sorted(scores) if scores[step] >= bed.competent), None)
    if step is None:
        raise UserError(
            f"{bed.name}: no checkpoint answers {bed.competent:.0%}: "
            + ", ".join(f"{step}: {scores[step]:.0%}" for step in sorted(scores))
        )
    source = folder / "run" / f"checkpoint-{step}"
    learner = policy.load(ModelConfig(str(source), dtype="float32"))
    shutil.rmtree(bed.start, ignore_errors=True)
    learner.save(bed.start)
    return bed.start


def perform(bed: Bed, trial: Trial, out: Path) -> Row:
    """Train and evaluate, and return the row; the run's folder is removed.

    A run that was cut short is begun again, as its processor time would be unknown. Raises
    UserError, with the last line of its log, for a command that fails.
    """
    folder, settings = out / trial.folder, settings_of(bed, trial)
    seconds = train(bed, trial, folder)
    split = "val" if trial.stage == "search" else "test"
    scores = {0: start_score(bed, split, out), **trained_scores(bed, trial, folder / "run", split)}
    last = read_metrics(folder / "run" / "metrics.jsonl")[-1]
    method = config.load(None, settings).algorithm
    group = method.num_generations + (method.baseline == "greedy")
    sampled = method.name != "sft"
    row = Row(
        trial=trial,
        settings=tuple(settings),
        start=fingerprint(bed.start),
        curve=tuple(sorted(scores.items())),
        # The epoch counts prompts, those of groups that were drawn and dropped included.
        completions=round(last["epoch"] * bed.rows * group) if sampled else 0,
        tokens=round(last["num_tokens"]) if sampled else 0,
        cpu_seconds=round(seconds, 1),
        commit=publishing.commit(),
        versions=publishing.versions(("vrft", "torch", "transformers", "platform")),
    )
    shutil.rmtree(folder)
    return row


def train(bed: Bed, trial: Trial, folder: Path) -> float:
    """Train as a trial asks in a new folder, and return the processor seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    where = [f"model.name={bed.start}", f"train.output_dir={folder / 'run'}"]
    return command(["train", "--task", str(bed.task), *settings_of(bed, trial), *where], folder)


def start_score(bed: Bed, split: str, out: Path) -> float:
    """Return the greedy score of the start on a split, asked once for each start."""
    folder = out / f"{bed.name}-start-{fingerprint(bed.start)}-{split}"
    with ASKED:
        if not (folder / "scores.json").is_file():
            evaluate(bed, ["--model", str(bed.start)], split, folder)
    return score_in(folder)


def trained_scores(bed: Bed, trial: Trial, run: Path, split: str) -> dict[int, float]:
    """Return a trial's greedy scores by step: of all its checkpoints, of a search's end alone."""
    if trial.stage != "search":
        return checkpoint_scores(bed, run, split)
    folder = run.parent / "scores"
    evaluate(bed, ["--model", str(run / "final")], split, folder)
    return {trial.steps: score_in(folder)}


def checkpoint_scores(bed: Bed, run: Path, split: str) -> dict[int, float]:
    """Return the greedy score of every checkpoint of a run by its step."""
    folder = run.parent / "scores"
    evaluate(bed, ["--all-checkpoints", str(run)], split, folder)
    names = [path.name for path in folder.iterdir() if path.name.startswith("checkpoint-")]
    return {int(name.split("-")[1]): score_in(folder / name) for name in names}


def evaluate(bed: Bed, model: Sequence[str], split: str, folder: Path) -> None:
    """Evaluate in a folder, greedily, on the held-out questions of a split."""
    benchmark = bed.task.with_suffix(".yml")  # not among the benchmarks that `vrft eval` lists
    asked = [f"split={split}", f"task.name={bed.task}", f"task.held_out={bed.held_out}"]
    # A large batch, as the models are tiny.
    options = ["--batch-size", "250", "--out", str(folder), *asked]
    command(["eval", "--benchmark", str(benchmark), *model, *options], folder.parent)


def score_in(folder: Path) -> float:
    """Return the mean of the primary metric in a folder of an evaluation."""
    report = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return float(next(iter(report["metrics"].values()))["mean"])


def command(argv: Sequence[str], folder: Path) -> float:
    """Run a ``vrft`` command, its output in FOLDER/log.txt, and return its processor seconds.

    Raises UserError with the last line of the log if the command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Importing takes longer than many a run: processes are forked from a server that has imported.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["vrft.training.train", "vrft.sft.fine_tune"])
    ours, theirs = forks.Pipe()
    process = forks.Process(target=run_command, args=(list(argv), folder / "log.txt", theirs))
    process.start()
    theirs.close()
    try:
        seconds = float(ours.recv())
    except EOFError:  # it ended without a word
        seconds = 0.0
    process.join()
    if process.exitcode:
        lines = (folder / "log.txt").read_text(encoding="utf-8").strip().splitlines()
        raise UserError(
            f"vrft {argv[0]} failed ({process.exitcode}): {lines[-1]}; see {folder / 'log.txt'}"
        )
    return seconds


def run_command(argv: Sequence[str], log: Path, sitting: Connection) -> None:
    """Run a ``vrft`` command in this process on one thread, and send its processor seconds."""
    import torch

    lifeline.tie(sitting)
    with log.open("a", encoding="utf-8") as file:
        print("$ vrft", *argv, file=file, flush=True)
        # At the level of file descriptors, so that the output of C libraries goes there as well.
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    torch.set_num_threads(1)
    code = cli.main(argv)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    sitting.send(sum(usage.ru_utime + usage.ru_stime for usage in used))
    sys.exit(code)
