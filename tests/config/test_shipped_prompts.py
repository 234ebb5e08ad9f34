"""Prompts of the shipped configurations and benchmarks: the words of their settings are taken."""

from dataclasses import replace

import pytest

from vrft import config, paths, registry
from vrft.config.schema import TaskConfig
from vrft.evaluation.benchmark import load_benchmark
from vrft.models import encoding, processors
from vrft.models.conversation import check_prompt
from vrft.types import Prompt

CONFIGS = paths.names("configs")
BENCHMARKS = paths.names("benchmarks")


def rendered(asked: TaskConfig) -> str:
    """Return the task's template and system text in the words of the demo's chat template."""
    if not asked.name:  # a part of a configuration, without a task
        return ""
    task = registry.build(replace(asked, settings={"data_dir": "/data"} | dict(asked.settings)))
    text, system = getattr(task, "template", None), getattr(task, "system", None)
    prompt = Prompt(text or "", system=system, raw=getattr(task, "style", "chat") == "base")
    return encoding.render(processors.load_processor(paths.model("demo")), prompt)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_model_takes_the_words_of_a_configuration(name: str) -> None:
    rendered(config.load(name).task)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_model_takes_the_words_of_a_benchmark(name: str) -> None:
    rendered(load_benchmark(name, data_dir=None if "demo" in name else "/data").task)


def test_both_examples_of_real_weights_ask_alike() -> None:
    asked = config.load("demo/math_smollm2").task, load_benchmark("demo_math_smollm2").task
    assert asked[0].settings["examples"] == asked[1].settings["examples"]


def demos() -> list[TaskConfig]:
    """Return the tasks of configurations and benchmarks whose data come with the toolkit."""
    tasks = [config.load(name).task for name in CONFIGS]
    tasks += [load_benchmark(name).task for name in BENCHMARKS if name.startswith("demo")]
    return [task for task in tasks if task.settings.get("data_dir") == "demo"]


def test_the_model_takes_what_demos_ask() -> None:
    for settings in demos():
        task = registry.build(settings)
        check_prompt(task.prompt(task.samples("val" if settings.name == "math" else "train")[0]))
