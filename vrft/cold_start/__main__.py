"""Maintainer's command that made the embedded models, from random weights and on a CPU.

    python -m vrft.cold_start TASK [--seed 0] [--out DIR]

A model takes the stages of its task's course (vrft/demo/course.py): each is ``algorithm=sft`` on
the demo's own kind of data, in part annotated by somebody with a bad habit. The grounding model has
lessons of its own (vrft/cold_start/pointing.py). The settings are those of the task's demo
configuration with SETTINGS laid over them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vrft import config, models, paths
from vrft.cold_start import pointing
from vrft.config.schema import Config, ModelConfig
from vrft.demo import data, tiny, tiny_configs
from vrft.demo.course import Course
from vrft.sft import fine_tune

SETTINGS = (
    "algorithm=sft",
    # The demo configurations count steps of reinforcement; lessons are counted in epochs.
    "train.num_train_epochs=1",
    "train.max_steps=-1",
    "train.per_device_train_batch_size=32",
    "train.gradient_accumulation_steps=1",
    "train.lr_scheduler_type=cosine",
    "train.warmup_ratio=0.05",
    "train.weight_decay=0.01",
    # Squared gradients are averaged over a hundred steps, not a thousand: stages have 150 to 1,500.
    "train.adam_beta2=0.99",
    "train.save_steps=500",
    "train.logging_steps=50",
)
"""Settings of all stages, laid over those of the demo configuration."""


def main(argv: Sequence[str] | None = None) -> None:
    """Make the model of a task and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m vrft.cold_start")
    parser.add_argument("task", choices=sorted(data.MODULES))
    parser.add_argument("--seed", type=int, default=0)
    where = Path("cold_start")
    parser.add_argument("--out", type=paths.expanded, default=where, help="folder of the runs")
    options = parser.parse_args(argv)
    course = data.demo(options.task).COURSE
    if course is None:
        print(teach_pointing(options.task, options.out, options.seed))
    else:
        print(teach_course(course, options.task, options.out, options.seed))


def teach_pointing(task: str, out: Path, seed: int) -> Path:
    """Make the grounding model by its own lessons and return its folder, the last stage's."""
    model = tiny.write(out / "random", size=tiny.DEMO_SIZE, seed=seed)
    for stage in pointing.STAGES:
        rate = f"train.learning_rate={stage.learning_rate}"
        pointing.teach(stage, settings(task, model, out / stage.name, seed, rate))
        model = out / stage.name / "final"
    # Kept in float32, as two courses go on from these weights.
    return model


def teach_course(course: Course, task: str, out: Path, seed: int) -> Path:
    """Take a model through the stages of a course and write it in float16 as ``out/model``."""
    if course.start is None:
        model = paths.EMBEDDED["demo"]
    else:
        family: tiny_configs.Family = "qwen2" if course.start.text_only else "qwen2_vl"
        model = tiny.write(out / "random", family, course.start.size, seed, course.start.vocabulary)
    for number, stage in enumerate(course.stages):
        lessons = out / f"{stage.name}-data"
        # Seeds from 1000 on, another for each stage: no seed of a demo data set, whose test
        # pictures must not come up in lessons.
        data.demo(task).write(
            lessons, {"train": stage.rows}, 1000 * (seed + 1) + number, stage.carelessness
        )
        overrides = (
            f"task.data_dir={lessons}",
            f"train.learning_rate={stage.learning_rate}",
            f"train.num_train_epochs={stage.epochs}",
            # Last, as a stage may override any of the settings above.
            *stage.settings,
        )
        fine_tune.train(settings(task, model, out / stage.name, seed, *overrides))
        model = out / stage.name / "final"
    # Trained in float32, kept in float16: the folders are shipped in the package.
    loaded = models.load_model(ModelConfig(name=str(model)), device="cpu")
    loaded.model.half()
    models.save_model(loaded, out / "model")
    return out / "model"


def settings(task: str, model: Path, folder: Path, seed: int, *overrides: str) -> Config:
    """Return the task's demo configuration for the fine-tuning of a model into a run folder."""
    where = (f"model.name={model}", f"train.output_dir={folder}", f"train.seed={seed}")
    return config.load(f"demo/{task}", [*SETTINGS, *where, *overrides])


if __name__ == "__main__":
    main()
