"""A small run and two evaluations of it as the viewer finds them, without training anything."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakes.scripted import evaluate_twice
from vrft import masks
from vrft.config import coercion
from vrft.config.loading import load
from vrft.evaluation import rescoring
from vrft.evaluation.benchmark import load_benchmark
from vrft.runs import launches

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b>"
"""A text that a page must show as it is."""


def evaluations(folder: Path) -> tuple[Path, Path]:
    """Write two evaluations of the same four pictures, and return their folders."""
    return evaluate_twice(folder)


def second_picture(folder: Path) -> Path:
    """Write an evaluation of one question about two pictures, with boxes in the second one."""
    for name, size in (("a.png", (300, 200)), ("b.png", (200, 400))):
        Image.new("RGB", size, "grey").save(folder / name)
    row = {
        "id": "a",
        "images": ["a.png", "b.png"],
        "question": "the cup",
        "answer": [20, 40, 80, 90],
    }
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    views = [[308, 196, "thousandths"], [196, 392, "thousandths"]]
    answer = {"id": "a", "text": "<answer>(100,100),(500,500)</answer>", "views": views}
    (folder / "answers.jsonl").write_text(json.dumps(answer) + "\n")
    asked = load_benchmark("grounding", ["task.picture=2"], str(folder / "test.jsonl"))
    rescoring.score_file(folder / "answers.jsonl", asked, out=folder / "second")
    return folder / "second"


def segment(folder: Path) -> dict[str, Any]:
    """Let an evaluation have masks of all its boxes, the left half of each picture.

    Returns the run-length code of that mask.
    """
    half = np.zeros((100, 100), dtype=np.bool_)
    half[:, :50] = True
    code = masks.encode(half)
    boxes = {"a": (0.2, 0.6, 0.6), "b": (0.2, 0.6, 0.4), "c": (0.7, 0.9, 0.9)}
    rows = [
        {"segmenter": "sam", "id": name, "box": [low, low, right, bottom], "mask": code}
        for name, (low, right, bottom) in boxes.items()
    ]
    (folder / "masks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = json.loads((folder / "settings.json").read_text())
    settings["benchmark"]["segmenter"] = "sam"
    (folder / "settings.json").write_text(json.dumps(settings))
    return code


def answer(
    text: str, reward: float, advantage: float, parsed: object, opened: int = 0
) -> dict[str, object]:
    """Return a row of a logged completion to the first instruction of the picture a.jpg.

    Its tokens have two characters each but for the first ``opened`` characters, which no token
    wrote; before each is one that writes nothing, and the last ends the answer.
    """
    written = len(text) - opened
    lengths = [length for _ in range(written // 2) for length in (0, 2)]
    lengths += [1, 0] if written % 2 else [0]
    return {
        "sample_id": "a#0",
        "text": text,
        "parsed": parsed,
        "finished": True,
        "tokens": 7,
        "rewards": {"iou": reward},
        "reward": reward,
        "advantage": advantage,
        "token_logprobs": [-0.2 * (k % 7) ** 2 for k in range(len(lengths))],
        "token_chars": lengths,
        "token_entropy": 0.3125,
    }


def run(folder: Path, data_dir: Path, seed: int = 1, steps: int = 3) -> Path:
    """Write the folder of a run of ``steps`` steps, one group of two answers in each.

    ``data_dir`` is that of the evaluations, whose pictures become the training split too.
    """
    folder.mkdir(parents=True)
    if not (data_dir / "train").exists():
        shutil.copytree(data_dir / "test", data_dir / "train")
    overrides = [
        "task=lisa_grounding",
        f"task.data_dir={data_dir}",
        "algorithm.num_generations=2",
        f"train.seed={seed}",
    ]
    tree = coercion.to_plain(load(None, overrides))
    (folder / "config.yaml").write_text(json.dumps(tree))  # JSON is YAML
    rows = [{"step": k, "time": 0.0, "reward": k / 10 + seed} for k in range(1, steps + 1)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    warning = {"step": 2, "name": "rewards_flat", "text": "rewards have not moved"}
    (folder / "warnings.jsonl").write_text(json.dumps(warning) + "\n")
    (folder / "completions").mkdir()
    box = "<think>🦉 owl</think><answer>(200,200),(600,600)</answer>"
    good = answer(box, 1.0, 0.5, [0.2, 0.2, 0.6, 0.6], opened=7)
    bad = answer(HOSTILE, 0.0, -0.5, None)
    for step in range(1, steps + 1):
        lines = "".join(json.dumps(row) + "\n" for row in (good, bad))
        (folder / "completions" / f"{step:06}.jsonl").write_text(lines)
    return folder


def resume(folder: Path, step: int) -> None:
    """Let a run have been resumed from a step on, with another learning rate and more devices."""
    tree = json.loads((folder / "config.yaml").read_text())
    (folder / "config-1.yaml").write_text(json.dumps(tree))
    tree["train"]["learning_rate"] = 2e-6
    (folder / f"config-{step}.yaml").write_text(json.dumps(tree))
    starts = [launches.Launch(1, 1), launches.Launch(step, 2)]
    (folder / "launches.json").write_text(json.dumps([asdict(start) for start in starts]))
