"""The work of ``python -m benchmarks.speed``: races in lanes beside each other, then memory."""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import replace
from typing import TypeVar

import torch
from transformers.utils.logging import disable_progress_bar

from benchmarks.lifeline import Lanes
from benchmarks.speed import (
    cost,
    growth,
    kernels,
    learning,
    learning_curves,
    levers,
    measurement,
    memory,
    operators,
    prefixes,
    race_tables,
    report,
)
from benchmarks.speed.beds import BEDS, DEMO, Bed
from benchmarks.speed.cost import Load
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.race import Plan, Race, race
from benchmarks.speed.settings import QUICK, SETTINGS, TIED, Setting, fitted
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.errors import UserError
from vrft.progress import progress

T = TypeVar("T")

RACE_SECONDS = 440.0
"""The time of all races; the rest of ten minutes is for starting, first steps and the memory."""

MOST_LANES = 2
"""Lanes at most: more would share one memory bus, over which both sides read their weights."""


def run(options: argparse.Namespace) -> None:
    """Measure what the options ask for, keep it, and write RESULTS.md and the README's table."""
    settle()
    started = time.monotonic()
    if options.learning:
        learn(BEDS[options.bed], options.seeds, options.lanes)
    else:
        modes = {
            "levers": try_levers,
            "growth": grow,
            "prefixes": share,
            "profile": profile_steps,
            "tied": race_tied,
        }
        chosen = [name for name in modes if getattr(options, name)]
        measured = modes[chosen[0]](options) if chosen else measure_steps(options)
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


def lanes(device: str, *, fresh: bool = False, count: int | None = None) -> Executor:
    """Return the processes in which races are run; if ``fresh``, a new one for each of them.

    They are ``count``, or as many as the device takes, and end with this one.
    """
    return Lanes(count or lane_count(device), settle, fresh=fresh)


def learn(bed: Bed, seeds: Sequence[int], count: int | None) -> None:
    """Compare the learning on a bed with each seed that is not kept yet, and keep each at once."""
    measured = Measurement("learning", "cpu", bed="" if bed is DEMO else bed.name)
    for kept in measurement.read_all(measurement.RESULTS):
        if kept.name == measured.name:
            measured = kept
    by_seed = {comparison.ours.seed: comparison for comparison in measured.learning}
    # those that were measured with another clock are measured anew
    done = {seed for seed, comparison in by_seed.items() if comparison.clock == learning.CLOCK}
    missing = [seed for seed in seeds if seed not in done]
    # A process for each: what TRL keeps of one run must not meet the next.
    with lanes("cpu", fresh=True, count=count) as pool:
        started = time.monotonic()
        waiting = [pool.submit(learning.compare, bed, seed) for seed in missing]
        with progress(len(missing), "learning") as display:
            for future in as_completed(waiting):
                comparison = future.result()
                by_seed[comparison.ours.seed] = comparison
                theirs, ours = map(learning_curves.when_reached, comparison.seconds)
                display.note(f"seed {comparison.ours.seed}: the goal {theirs} (TRL) and {ours}")
                display.advance(1)
                learnt = tuple(by_seed[seed] for seed in sorted(by_seed))
                seconds = measured.seconds + time.monotonic() - started
                measurement.keep(replace(measured, learning=learnt), seconds)


def try_levers(options: argparse.Namespace) -> Measurement:
    """Measure each lever's own factor, in each setting."""
    shape = SHAPES[options.shape or "cpu-third"]
    chosen = options.settings or levers.SETTINGS
    with lanes("cpu", count=options.lanes) as pool:
        submitted = [
            pool.submit(levers.measure, fitted(SETTINGS[name], "cpu"), shape, options.rounds)
            for name in chosen
        ]
        trials = [trial for future in awaited(submitted, "levers") for trial in future.result()]
    return Measurement("levers", "cpu", shape=named(shape), levers=tuple(trials))


def grow(options: argparse.Namespace) -> Measurement:
    """Measure what grows with users' work."""
    shape = SHAPES[options.shape or "cpu-third"]
    with lanes("cpu", fresh=True, count=options.lanes) as pool:
        points = growth.measure_all(pool, shape)
    return Measurement("growth", "cpu", shape=named(shape), growth=tuple(points))


def share(options: argparse.Namespace) -> Measurement:
    """Measure the update with shared and with repeated prompts."""
    shape = SHAPES[options.shape or "cpu-third"]
    with lanes("cpu", count=options.lanes) as pool:
        submitted = [
            pool.submit(prefixes.measure, prompt, completion, shape, options.rounds)
            for prompt in prefixes.PUBLISHED
            for completion in prefixes.COMPLETIONS
        ]
        updates = [future.result() for future in awaited(submitted, "prefixes")]
    return Measurement("prefixes", "cpu", shape=named(shape), prefixes=tuple(updates))


def profile_steps(options: argparse.Namespace) -> Measurement:
    """Measure where the time of each setting's step goes, and what its kernels reach alone."""
    shape = SHAPES[options.shape or "cpu-third"]
    chosen = options.settings or QUICK
    # One at a time unless asked otherwise: beside another, each would wait for the memory.
    with lanes("cpu", count=options.lanes or 1) as pool:
        submitted = [
            pool.submit(operators.measure, fitted(SETTINGS[name], "cpu"), shape) for name in chosen
        ]
        profiles = [future.result() for future in awaited(submitted, "profiles")]
        rates = pool.submit(kernels.measure_all, shape).result()
    return Measurement(
        "profile", "cpu", shape=named(shape), profiles=tuple(profiles), kernels=rates
    )


def race_tied(options: argparse.Namespace) -> Measurement:
    """Race the setting in which half of the groups are tied."""
    options.settings = TIED
    return replace(measure_steps(options, weigh=False), mode="tied")


def awaited(submitted: Sequence[Future[T]], title: str) -> Sequence[Future[T]]:
    """Return the futures once all are done, and show how many are."""
    with progress(len(submitted), title) as display:
        for _ in as_completed(submitted):
            display.advance(1)
    return submitted


def named(shape: Shape) -> str:
    """Return a shape's name as files bear it: "" for the one that is usual on a CPU."""
    return "" if shape.name == "cpu-third" else shape.name


def measure_steps(options: argparse.Namespace, *, weigh: bool = True) -> Measurement:
    """Measure the times of whole steps and their parts, and the memory of a step if ``weigh``.

    Raises UserError if the device is not there.
    """
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA device; use --device cpu")
    usual = "2b" if device == "cuda" else "cpu-third"
    shape = SHAPES[options.shape or usual]
    settings = [fitted(SETTINGS[name], device) for name in options.settings or QUICK]
    one_prompt = replace(fitted(SETTINGS["lisa"], device), prompts=1)
    with lanes(device) as pool:
        submitted = submit_races(pool, settings, shape, options)
        # Last, in the lane that is free first: the other one's race still has a core of its own.
        weighed = {
            side: pool.submit(memory.measure_alone, side, one_prompt, shape, device)
            for side in (memory.SIDES if weigh else ())
        }
        races = awaited_races(submitted)
        held = {side: future.result() for side, future in weighed.items()}
    file_shape = "" if (device, shape.name) == ("cpu", usual) else shape.name
    return Measurement("quick", device, shape=file_shape, races=races, memory=held)


def submit_races(
    pool: Executor, settings: Sequence[Setting], shape: Shape, options: argparse.Namespace
) -> list[Future[Race]]:
    """Submit the race of every setting, the longest first, and return them in the settings' order.

    Each gets a share of the time like its share of the work.
    """
    work = [operations(setting, shape) for setting in settings]
    futures: dict[int, Future[Race]] = {}
    # Else the longest would still run in one lane when the other has nothing left to do.
    for index in sorted(range(len(settings)), key=lambda index: -work[index]):
        seconds = RACE_SECONDS * lane_count(options.device) * work[index] / sum(work)
        plan = Plan(options.device, options.pairs, min(options.pairs, 3), seconds)
        # on a GPU with checkpoints, as TRL's activations of the published shapes do not fit
        checkpointing = options.device == "cuda"
        futures[index] = pool.submit(
            race, settings[index], shape, plan, checkpointing=checkpointing
        )
    return [futures[index] for index in range(len(settings))]


def awaited_races(submitted: Sequence[Future[Race]]) -> tuple[Race, ...]:
    """Return the races once all are run, and tell each one's outcome as it comes."""
    with progress(len(submitted), "racing") as display:
        for future in as_completed(submitted):
            finished = future.result()
            speedups = race_tables.spread(race_tables.ratios(finished, race_tables.step_seconds))
            display.note(f"{finished.setting.name} {speedups}")
            display.advance(1)
    return tuple(future.result() for future in submitted)


def operations(setting: Setting, shape: Shape) -> float:
    """Return about how many operations a pair of steps computes."""
    prompt = setting.words + setting.image_tokens
    group = Load(prompt, setting.picture_tokens, setting.pictures, setting.completion,
                 setting.generations)  # fmt: skip
    sides = (cost.theirs, cost.ours)
    return setting.prompts * sum(side(shape, group, checkpointing=False).total for side in sides)
