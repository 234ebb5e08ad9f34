"""The work of ``python -m benchmarks.speed``: races in lanes beside each other, then memory."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import replace

import torch
from transformers.utils.logging import disable_progress_bar

from benchmarks.speed import cost, learning, measurement, memory, report
from benchmarks.speed.cost import Load
from benchmarks.speed.learning import Comparison
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.race import Plan, Race, race
from benchmarks.speed.settings import SETTINGS, Setting, fitted
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.errors import UserError
from vrft.progress import progress

RACE_SECONDS = 480.0
"""The time of all races; the rest of ten minutes is for starting and the memory."""

MOST_LANES = 2
"""Lanes at most: more would share one memory bus, over which both sides read their weights."""


def run(options: argparse.Namespace) -> None:
    """Measure what the options ask for, keep it, and write RESULTS.md and the README's table."""
    settle()
    started = time.monotonic()
    if options.learning:
        with lanes(options.device) as pool:
            measured = Measurement("learning", options.device, learning=learn(pool, options.seeds))
    else:
        measured = measure_steps(options)
    print(measurement.keep(measured, time.monotonic() - started))
    print(*report.write(measurement.read_all()), sep="\n")


def settle() -> None:
    """Compute with one thread, and silence what libraries say about themselves."""
    torch.set_num_threads(1)
    disable_progress_bar()
    # TRL calls what transformers has renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def lane_count(device: str) -> int:
    """Return how many races are run beside each other: one on a GPU."""
    return min(MOST_LANES, os.cpu_count() or 1) if device == "cpu" else 1


def lanes(device: str, *, fresh: bool = False) -> Executor:
    """Return the processes in which races are run; if ``fresh``, a new one for each of them."""
    return ProcessPoolExecutor(
        lane_count(device),
        # A forked process would inherit locks of torch's threads, and CUDA does not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=settle,
        max_tasks_per_child=1 if fresh else None,
    )


def learn(pool: Executor, seeds: Sequence[int]) -> tuple[Comparison, ...]:
    """Compare the held-out reward over time with each seed."""
    comparisons = []
    with progress(len(seeds), "learning") as display:
        for comparison in learning.compare(pool, seeds):
            comparisons.append(comparison)
            theirs, ours = map(report.when_reached, comparison.seconds)
            display.note(f"seed {comparison.ours.seed}: the goal {theirs} (TRL) and {ours}")
            display.advance(1)
    return tuple(comparisons)


def measure_steps(options: argparse.Namespace) -> Measurement:
    """Measure the times of whole steps and their parts, and the memory of a step.

    Raises UserError if the device is not there.
    """
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA device; use --device cpu")
    usual = "2b" if device == "cuda" else "cpu-third"
    shape = SHAPES[options.shape or usual]
    settings = [fitted(SETTINGS[name], device) for name in options.settings]
    with lanes(device) as pool:
        races = race_all(pool, settings, shape, options)
    # After the races, which another process's step would disturb.
    with lanes(device, fresh=True) as pool:
        one_prompt = replace(fitted(SETTINGS["lisa"], device), prompts=1)
        weighed = memory.compare(pool, one_prompt, shape, device)
    named = "" if (device, shape.name) == ("cpu", usual) else shape.name
    return Measurement("quick", device, shape=named, races=races, memory=weighed)


def race_all(
    pool: Executor, settings: Sequence[Setting], shape: Shape, options: argparse.Namespace
) -> tuple[Race, ...]:
    """Race every setting, the longest first, and return the races in the order of the settings."""
    work = [operations(setting, shape) for setting in settings]
    futures = {}
    for index in sorted(range(len(settings)), key=lambda index: -work[index]):
        # Each race gets a share of the time like its share of the work. The longest begins first,
        # or it would still run in one lane when the other has nothing left to do.
        seconds = RACE_SECONDS * lane_count(options.device) * work[index] / sum(work)
        plan = Plan(options.device, options.pairs, min(options.pairs, 3), seconds)
        # on a GPU with checkpoints, as TRL's activations of the published shapes do not fit
        checkpointing = options.device == "cuda"
        future = pool.submit(race, settings[index], shape, plan, checkpointing=checkpointing)
        futures[future] = index
    races = {}
    with progress(len(settings), "racing") as display:
        for future in as_completed(futures):
            finished = races[futures[future]] = future.result()
            speedups = report.spread(report.ratios(finished, report.step_seconds))
            display.note(f"{finished.setting.name} {speedups}")
            display.advance(1)
    return tuple(races[index] for index in range(len(settings)))


def operations(setting: Setting, shape: Shape) -> float:
    """Return about how many operations a pair of steps computes."""
    prompt = setting.words + setting.image_tokens
    group = Load(prompt, setting.picture_tokens, setting.pictures, setting.completion,
                 setting.generations)  # fmt: skip
    sides = (cost.theirs, cost.ours)
    return setting.prompts * sum(side(shape, group, checkpointing=False).total for side in sides)
