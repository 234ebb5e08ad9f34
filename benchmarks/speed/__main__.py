"""A training step against TRL's: times, counters, memory, and RESULTS.md.

python -m benchmarks.speed --quick --device cpu
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

MINUTES = 10
"""What --quick may take."""

RESERVE = 75
"""Seconds of them that are left for the peak memory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure as the options say; exit status 2 where the two sides do not agree."""
    options = arguments().parse_args(argv)
    # Before torch is imported, which reads them once.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from vrft.errors import UserError

    try:
        measure(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="ten minutes on two cores (default)")
    mode.add_argument("--full", action="store_true", help="all, with checkpointing, ladder, growth")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--settings", nargs="+", help="some of the settings only")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of steps for each setting")
    parser.add_argument("--shape", help="model shape: cpu, cpu-third, 2b, 3b, test")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Everything that was asked for; results are kept when all is done."""
    import torch

    from benchmarks.speed import growth, ladder, measurement, memory, report, settings
    from benchmarks.speed.shapes import SHAPES

    torch.set_num_threads(1)
    started = time.monotonic()
    name = options.shape or shape_of(options.device, full=options.full)
    chosen = choose(options.settings)
    if not options.full:
        chosen = [settings.quick(setting) for setting in chosen]
    lisa = next((setting for setting in chosen if setting.name == "lisa"), None)
    races = race_all(options, chosen, name, started)
    small = "cpu-third" if options.device == "cpu" else name
    found = measurement.Measurement(
        mode="full" if options.full else "quick",
        device=options.device,
        hardware=measurement.hardware(options.device),
        commit=measurement.commit(),
        versions=measurement.versions(),
        races=races,
        memory=memory.compare(lisa, name, options.device) if lisa else {},
        ladder=ladder.climb(settings.quick(settings.SETTINGS["lisa"]), SHAPES[small],
                            options.device, options.pairs) if options.full else (),
        growth=growth.sweep(SHAPES[small], options.device) if options.full else (),
        seconds=time.monotonic() - started,
    )  # fmt: skip
    print(measurement.keep(found))
    print(report.publish(measurement.kept()))


def choose(names: Sequence[str] | None) -> list[Setting]:
    """The settings of these names, or all; UserError for an unknown one."""
    from benchmarks.speed.settings import SETTINGS
    from vrft.errors import UserError

    for name in names or ():
        if name not in SETTINGS:
            raise UserError(f"--settings {name}: not one of {', '.join(SETTINGS)}")
    return [SETTINGS[name] for name in names or SETTINGS]


def shape_of(device: str, *, full: bool) -> str:
    """The model that fits the device and the time."""
    if device == "cuda":
        return "2b"
    return "cpu" if full else "cpu-third"
