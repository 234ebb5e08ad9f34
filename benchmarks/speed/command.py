"""What `python -m benchmarks.speed` does."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import replace
from functools import partial

import torch

from benchmarks.speed import (
    cost,
    growth,
    ladder,
    lanes,
    learning,
    measurement,
    memory,
    report,
    settings,
)
from benchmarks.speed.cost import Load
from benchmarks.speed.learning import Comparison
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.pairs import Plan, Race, race
from benchmarks.speed.settings import SETTINGS, Setting
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.errors import UserError
from vrft.progress import progress

QUICK_SECONDS = 480.0
"""What the races of --quick may take; the rest of ten minutes is for starting and the memory."""


def run(options: argparse.Namespace) -> None:
    """Measure all that was asked for, keep it, and write RESULTS.md."""
    lanes.settle()
    started = time.monotonic()
    with lanes.opened(options.device) as pool:
        if options.learning:
            found = Measurement("learning", options.device, learning=learn(pool, options.seeds))
        else:
            found = steps(pool, options)
    found = replace(
        found,
        hardware=measurement.hardware(options.device),
        commit=measurement.commit(),
        versions=measurement.versions(),
        seconds=time.monotonic() - started,
    )
    print(measurement.keep(found))
    print(*report.write(measurement.kept()), sep="\n")


def learn(pool: Executor, seeds: Sequence[int]) -> tuple[Comparison, ...]:
    """The held-out reward over time."""
    with progress(len(seeds), "learning") as shown:
        found = []
        for one in learning.compare(pool, seeds):
            found.append(one)
            theirs, ours = map(report.after, one.seconds)
            shown.note(f"seed {one.ours.seed}: the goal {theirs} (TRL) and {ours}")
            shown.advance(1)
    return tuple(found)


def steps(pool: Executor, options: argparse.Namespace) -> Measurement:
    """The times of whole steps and their parts, memory, and with --full ladder and growth."""
    shape = chosen_shape(options)
    chosen = named(options.settings or (SETTINGS if options.full else settings.QUICK))
    fit = partial(settings.fitted, quick=not options.full, device=options.device)
    chosen = [fit(setting) for setting in chosen]
    cpu, lisa = options.device == "cpu", fit(SETTINGS["lisa"])
    alone = replace(lisa, prompts=1)
    small = SHAPES["cpu-third"] if cpu else shape
    found = Measurement(
        "full" if options.full else "quick",
        options.device,
        shape=options.shape or ("" if cpu else shape.name),
        races=race_all(pool, chosen, shape, options),
        memory=memory.compare(pool, alone, shape.name, options.device),
    )
    if not options.full:
        return found
    return replace(
        found,
        ladder=ladder.climb(lisa, small, options.device, options.pairs),
        growth=growth.sweep(pool, small, options.device),
    )


def race_all(
    pool: Executor, chosen: Sequence[Setting], shape: Shape, options: argparse.Namespace
) -> tuple[Race, ...]:
    """Every setting, the longest start first; on both sides checkpoints or none, with --full both.

    On a GPU there are checkpoints always: TRL's activations of the published shapes do not fit.
    """
    cpu = options.device == "cpu"
    modes = ((False, True) if options.full else (False,)) if cpu else (True,)
    work = {setting.name: operations(setting, shape) for setting in chosen}
    wanted = [(setting, checkpointing) for checkpointing in modes for setting in chosen]
    futures: dict[Future[Race], tuple[Setting, bool]] = {}
    for setting, checkpointing in sorted(wanted, key=lambda one: -work[one[0].name]):
        time_for = lanes.count(options.device) * work[setting.name] / sum(work.values())
        seconds = float("inf") if options.full else QUICK_SECONDS * time_for
        least = min(options.pairs, 3)
        plan = Plan(options.device, options.pairs, least, seconds, in_turns=cpu)
        future = pool.submit(race, setting, shape, plan, checkpointing=checkpointing)
        futures[future] = (setting, checkpointing)
    found: dict[tuple[Setting, bool], Race] = {}
    with progress(len(wanted), "racing") as shown:
        for future in as_completed(futures):
            one = found[futures[future]] = future.result()
            shown.note(f"{one.setting.name} {report.spread(report.ratio(one, report.whole))}")
            shown.advance(1)
    return tuple(found[one] for one in wanted)


def operations(setting: Setting, shape: Shape) -> float:
    """About what a pair of steps computes."""
    prompt = setting.words + setting.image_tokens
    group = Load(prompt, setting.picture_tokens, setting.pictures, setting.completion,
                 setting.generations)  # fmt: skip
    sides = (cost.theirs, cost.ours)
    return setting.prompts * sum(side(shape, group, checkpointing=False).total for side in sides)


def named(names: Iterable[str]) -> list[Setting]:
    """The settings of these names; UserError for an unknown one."""
    for name in names:
        if name not in SETTINGS:
            raise UserError(f"--settings {name}: choose from {', '.join(SETTINGS)}")
    return [SETTINGS[name] for name in names]


def chosen_shape(options: argparse.Namespace) -> Shape:
    """The model that was asked for, or that fits the device and the time."""
    on_cpu = "cpu" if options.full else "cpu-third"
    name = options.shape or ("2b" if options.device == "cuda" else on_cpu)
    if name not in SHAPES:
        raise UserError(f"--shape {name}: choose from {', '.join(SHAPES)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA device; use --device cpu")
    return SHAPES[name]
