"""What `python -m benchmarks.speed` does."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from benchmarks.speed import growth, ladder, measurement, memory, report, settings
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.pairs import Plan, Race, race
from benchmarks.speed.settings import SETTINGS, Setting
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.errors import UserError
from vrft.log import progress

QUICK_SECONDS = 480.0
"""What the races of --quick may take; the rest of ten minutes is for the peak memory."""


def run(options: argparse.Namespace) -> None:
    """Measure all that was asked for, keep it, and write RESULTS.md."""
    torch.set_num_threads(1)
    started = time.monotonic()
    shape = chosen_shape(options)
    chosen = named(options.settings or (SETTINGS if options.full else settings.QUICK))
    if not options.full:
        chosen = [settings.quick(setting) for setting in chosen]
    races = race_all(chosen, shape, options)
    lisa = settings.quick(SETTINGS["lisa"])
    alone = replace(lisa, prompts=1)
    small = SHAPES["cpu-third"] if options.device == "cpu" else shape
    found = Measurement(
        mode="full" if options.full else "quick",
        device=options.device,
        hardware=measurement.hardware(options.device),
        commit=measurement.commit(),
        versions=measurement.versions(),
        races=races,
        memory=memory.compare(alone, shape.name, options.device),
        ladder=ladder.climb(lisa, small, options.device, options.pairs) if options.full else (),
        growth=growth.sweep(small, options.device) if options.full else (),
        seconds=time.monotonic() - started,
    )
    print(measurement.keep(found))
    print(report.publish(measurement.kept()), report.fill(measurement.kept()), sep="\n")


def race_all(
    chosen: Sequence[Setting], shape: Shape, options: argparse.Namespace
) -> tuple[Race, ...]:
    """Every setting, with --full also with checkpointing on both sides.

    With --quick each has an equal share of what time is left.
    """
    races: list[Race] = []
    end = time.monotonic() + (float("inf") if options.full else QUICK_SECONDS)
    modes = (False, True) if options.full else (False,)
    wanted = [(setting, checkpointing) for checkpointing in modes for setting in chosen]
    with progress(len(wanted), "racing") as shown:
        for number, (setting, checkpointing) in enumerate(wanted):
            share = (end - time.monotonic()) / (len(wanted) - number)
            plan = Plan(options.device, options.pairs, min(options.pairs, 3), share)
            races.append(race(setting, shape, plan, checkpointing=checkpointing))
            shown.note(f"{setting.name} {report.spread(report.ratio(races[-1], report.whole))}")
            shown.advance(1)
    return tuple(races)


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
