"""How the embedded models were made: by supervised fine-tuning on a CPU, from random weights.

    python -m vrft.cold_start TASK [--seed 0] [--out DIR]

The model of a task takes the stages of its course (vrft/demo/course.py): each is ``algorithm=sft``
on the demo's own kind of data, in part annotated by somebody with a bad habit. The grounding model
has lessons of its own (vrft/cold_start/pointing.py). The settings are those of the task's demo
configuration with SETTINGS laid over them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vrft import config, models, paths
from vrft.cold_start import pointing
from vrft.config.schema import Config, ModelConfig
from vrft.demo import data, tiny
from vrft.demo.course import Course
from vrft.training import sft

SETTINGS = (
    "algorithm=sft",
    "train.num_train_epochs=1",
    "train.max_steps=-1",
    "train.per_device_train_batch_size=32",
    "train.gradient_accumulation_steps=1",
    "train.lr_scheduler_type=cosine",
    "train.warmup_ratio=0.05",
    "train.weight_decay=0.01",
    "train.adam_beta2=0.99",
    "train.save_steps=500",
    "train.logging_steps=50",
)


def main() -> None:
    """Runs all stages of a task's course, each from the model of the one before."""
    parser = argparse.ArgumentParser(prog="python -m vrft.cold_start")
    parser.add_argument("task", choices=sorted(data.MODULES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("cold_start"), help="folder of the runs")
    options = parser.parse_args()
    demo = data.demo(options.task)
    if demo.COURSE is None:
        print(point(options.task, options.out, options.seed))
    else:
        print(take(demo.COURSE, options.task, options.out, options.seed))


def point(task: str, out: Path, seed: int) -> Path:
    """The grounding model, by its own lessons; its weights stay in float32."""
    model = tiny.write(out / "random", size=tiny.DEMO_SIZE, seed=seed)
    for stage in pointing.STAGES:
        rate = f"train.learning_rate={stage.learning_rate}"
        pointing.teach(stage, settings(task, model, out / stage.name, seed, rate))
        model = out / stage.name / "final"
    return model


def take(course: Course, task: str, out: Path, seed: int) -> Path:
    """The model of a course, in float16, as ``out/model``."""
    model = begin(course, out / "random", seed)
    for number, stage in enumerate(course.stages):
        lessons = out / f"{stage.name}-data"
        # no seed of a demo data set, whose test pictures must not come up
        data.demo(task).write(
            lessons, {"train": stage.rows}, 1000 * (seed + 1) + number, stage.carelessness
        )
        overrides = (
            f"task.data_dir={lessons}",
            f"train.learning_rate={stage.learning_rate}",
            f"train.num_train_epochs={stage.epochs}",
            *stage.settings,
        )
        sft.train(settings(task, model, out / stage.name, seed, *overrides))
        model = out / stage.name / "final"
    loaded = models.load_model(ModelConfig(name=str(model)), device="cpu")
    loaded.model.half()
    models.save_model(loaded, out / "model")
    return out / "model"


def begin(course: Course, folder: Path, seed: int) -> Path:
    """The folder of the model that a course begins with."""
    if course.start is None:
        return paths.EMBEDDED["demo"]
    family: tiny.Family = "qwen2" if course.start.text_only else "qwen2_vl"
    return tiny.write(folder, family, course.start.size, seed, course.start.vocabulary)


def settings(task: str, model: Path, folder: Path, seed: int, *overrides: str) -> Config:
    """The task's demo configuration, for supervised fine-tuning of a model into a run folder."""
    where = (f"model.name={model}", f"train.output_dir={folder}", f"train.seed={seed}")
    return config.load(f"demo/{task}", [*SETTINGS, *where, *overrides])


if __name__ == "__main__":
    main()
