"""Carrying out trials: train with a seed, evaluate before and after, write down the result.

Every step is an ordinary ``vrft`` command in a process of its own. A trial that was interrupted
goes on where it stopped, and one that has its result already is not run again.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import lifeline, publishing
from benchmarks.paper.trials import Result, Trial, read_results, write_results
from vrft import cli, config
from vrft.errors import UserError
from vrft.evaluation import results
from vrft.evaluation.comparison import compare
from vrft.progress import progress
from vrft.runs.run_log import read_metrics


@dataclass(frozen=True)
class Resources:
    """The folder of the runs, how many go on at a time, threads of each, and a budget in minutes.

    The budget ends no trial that has begun.
    """

    out: Path
    jobs: int = 1
    threads: int | None = None
    budget: float = float("inf")

    @property
    def threads_each(self) -> int:
        """Return the threads of one run: as given, or the cores divided by ``jobs``."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.jobs)


def measure(name: str, trials: Sequence[Trial], resources: Resources) -> list[Result]:
    """Run the trials without a result and return all results there are, in the trials' order.

    Every result goes to results/NAME.json as soon as it is there. Raises UserError, with the last
    line of its log, for a command that fails.
    """
    done, folder, threads = read_results(name), resources.out / name, resources.threads_each
    missing = [
        trial for trial in trials if trial.key not in done or not done[trial.key].belongs_to(trial)
    ]
    deadline = time.monotonic() + 60 * resources.budget
    # Arms and seeds share their untrained model. It is evaluated before any trial begins, as two
    # trials at a time would both find its folder unfinished.
    first_trials = {untrained(trial, folder): trial for trial in missing}

    def evaluate_untrained(path: Path) -> None:
        evaluate(first_trials[path], base_model(first_trials[path]), path, threads)

    def run_in_time(trial: Trial) -> Result | None:
        return run(trial, folder, threads) if time.monotonic() < deadline else None

    with progress(len(missing), name) as display, ThreadPoolExecutor(resources.jobs) as pool:
        try:
            list(pool.map(evaluate_untrained, first_trials))
            for result in pool.map(run_in_time, missing):
                if result is not None:
                    done[result.key] = result
                    write_results(name, done)
                    display.note(f"{result.key} {100 * result.gain:+.1f}")
                    display.advance(1)
        finally:
            # else leaving the pool would first run all that is still queued
            pool.shutdown(wait=False, cancel_futures=True)
    return [done[trial.key] for trial in trials if trial.key in done]


def run(trial: Trial, out: Path, threads: int) -> Result:
    """Train, evaluate, and compare the trained model with the untrained one."""
    folder = out / trial.key
    started = time.monotonic()
    train(trial, folder / "run", threads)
    trained = str(folder / "run" / "final")
    evaluate(trial, trained, folder / "after", threads)
    # without its pictures a model that reads them should lose what it gained
    if trial.blanked:
        evaluate(trial, trained, folder / "blanked", threads, "--blank-images")
    comparison = compare(trial.key, untrained(trial, out), folder / "after")
    blanked = results.load_evaluation(folder / "blanked") if trial.blanked else None
    last_step = read_metrics(folder / "run" / "metrics.jsonl")[-1]
    return Result(
        key=trial.key,
        arm=trial.arm,
        seed=trial.seed,
        config=trial.config,
        benchmark=trial.benchmark,
        settings=trial.settings,
        asked=trial.asked,
        metric=comparison.metric,
        n=comparison.before.n,
        before=comparison.before.mean,
        after=comparison.after.mean,
        gain=comparison.difference.mean,
        low=comparison.difference.low,
        high=comparison.difference.high,
        blanked=blanked.report.metrics[comparison.metric].mean if blanked else None,
        # SFT logs neither of the two
        epochs=round(last_step.get("epoch", 0.0), 3),
        tokens=round(last_step.get("num_tokens", 0.0)),
        # of a resumed trial these are the seconds since it was resumed
        seconds=round(time.monotonic() - started, 1),
        threads=threads,
        commit=publishing.commit(),
        versions=publishing.versions(("vrft", "torch", "transformers", "platform")),
    )


def base_model(trial: Trial) -> str:
    """Return the name of the model that training starts from."""
    return config.load(trial.config, trial.settings).model.name


def untrained(trial: Trial, out: Path) -> Path:
    """Return the folder of the untrained model's evaluation, the same for all arms and seeds."""
    name = "-".join([trial.benchmark, Path(base_model(trial)).name, *trial.asked])
    return out / "untrained" / name


def train(trial: Trial, folder: Path, threads: int) -> None:
    """Train in ``folder``; resume a run that is there, and leave a finished one alone."""
    if (folder / "final").is_dir():
        return
    # the configuration is the first file of a run
    if (folder / "config.yaml").is_file():
        command(["train", "--resume", str(folder)], folder.parent, threads)
        return
    settings = [*trial.settings, f"train.seed={trial.seed}", f"train.output_dir={folder}"]
    command(["train", "--config", trial.config, *settings], folder.parent, threads)


def evaluate(trial: Trial, model: str, folder: Path, threads: int, *options: str) -> None:
    """Evaluate a model in ``folder``; ``vrft eval`` itself goes on with answers that are there."""
    # a large batch, as the models are tiny
    argv = ["eval", "--benchmark", trial.benchmark, "--model", model, "--out", str(folder)]
    command([*argv, "--batch-size", "50", *options, *trial.asked], folder.parent, threads)


def command(argv: Sequence[str], folder: Path, threads: int) -> None:
    """Run a ``vrft`` command whose output goes to FOLDER/log.txt; raise UserError if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log.txt"
    # Importing torch and transformers takes longer than many a run of the tiny models does: the
    # processes are forked from one server that has imported both.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["vrft.training.train", "vrft.evaluation.evaluate"])
    ours, theirs = forks.Pipe()
    process = forks.Process(target=run_command, args=(list(argv), path, threads, theirs))
    process.start()
    theirs.close()
    process.join()
    ours.close()
    if process.exitcode:
        last_line = path.read_text(encoding="utf-8").strip().splitlines()[-1]
        raise UserError(f"vrft {argv[0]} failed ({process.exitcode}): {last_line}; see {path}")


def run_command(argv: Sequence[str], path: Path, threads: int, sitting: Connection) -> None:
    """Run a ``vrft`` command in this process, with its output to a file, and exit as it exits."""
    import torch

    lifeline.tie(sitting)
    with path.open("a", encoding="utf-8") as log:
        print("$ vrft", *argv, file=log, flush=True)
        # at the level of file descriptors, so that the output of C libraries goes there as well
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    # OMP_NUM_THREADS would come too late: torch is imported in the fork server already
    torch.set_num_threads(threads)
    sys.exit(cli.main(argv))
