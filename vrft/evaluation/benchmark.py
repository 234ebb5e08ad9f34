"""A benchmark: a task's split, how it is answered, and the scores that papers report on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vrft import config, paths, registry
from vrft.config import coercion
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import TaskConfig
from vrft.errors import UserError

GREEDY = SamplingConfig(temperature=0.0)

DECODING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_completion_length")
"""The settings of sampling on which the text of an answer depends."""

LONGEST_ANSWER = 512
"""Tokens of an answer to a task without a benchmark, as of those for anyone's rows."""


@dataclass(frozen=True)
class Benchmark:
    """One YAML file of the folder benchmarks/; answers are greedy unless the file says otherwise.

    All fields are written to settings.json beside the predictions and read back from there.
    """

    name: str = ""
    """The name of its file, without the suffix."""
    title: str = ""
    """One line for lists and pages."""
    task: TaskConfig = field(default_factory=TaskConfig)
    split: str = "test"
    sampling: SamplingConfig = GREEDY
    repeats: int = 1
    """Answers drawn to each sample; the mean of their scores is the sample's score."""
    seed: int = 0
    on_bad_picture: Literal["error", "skip"] = "error"
    """A sample whose picture cannot be read ends the evaluation, or has no answer and counts as
    wrong; given as ``data.on_bad_picture``, as in training."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """Method -> the published value of the task's primary metric, in percent."""
    paper_by_metric: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Another metric -> method -> its published value, in percent."""
    segmenter: str = ""
    """A SAM model, hub id or folder, that makes a mask of every box, for gIoU and cIoU of masks."""
    data: str = ""
    """The contents of the folder given by --data; "" if the benchmark brings its own data."""
    paper_samples: int = 0
    """The samples of the published data; 0 where their number is not known."""
    other_data: str = ""
    """The setting by which other samples are asked than those of the file; "" if there is none."""
    other_decoding: str = ""
    """The setting by which they are answered otherwise than the file says; "" if there is none."""

    def why_unpublished(
        self,
        samples: int,
        limit: int | None,
        *,
        blank_images: bool = False,
        omitted: Sequence[str] = (),
    ) -> str:
        """Return why the published values say nothing about ``samples`` of them; "" if they do.

        ``omitted`` are the parameters of decoding that a server was not told.
        """
        if not self.paper and not self.paper_by_metric:
            return ""
        if limit is not None:
            return f"only the first {samples} samples were asked"
        if self.other_data:
            return f"{self.other_data} gives other data than the published"
        if self.paper_samples not in (0, samples):
            return f"the published data have {self.paper_samples} samples, these {samples}"
        if blank_images:
            return "the pictures were blanked"
        if self.other_decoding:
            return f"{self.other_decoding} is not how the published answers were made"
        if omitted:
            return f"the server has decoded by its own {' and '.join(omitted)}"
        return ""


def load_benchmark(
    name: str, overrides: Sequence[str] = (), data_dir: str | None = None
) -> Benchmark:
    """Load the benchmark of a YAML file or of a shipped name.

    ``overrides`` are ``key.path=value`` (such as ``sampling.max_completion_length=512``),
    ``data_dir`` is short for ``task.data_dir``. Raises UserError for an unknown setting, for a
    benchmark without its data, and for several greedy answers to one question.
    """
    path = paths.find("benchmarks", name)
    return built(path.stem, config.read(path), overrides, data_dir)


def of_task(task: str, overrides: Sequence[str] = (), data_dir: str | None = None) -> Benchmark:
    """Return the evaluation of a task for which there is no file: greedy answers to split "test".

    ``task`` is a name or a file, and names the benchmark; the rest is as in ``load_benchmark``.
    """
    tree = {
        "title": f"The task {task}",
        "task": {"name": task},
        "sampling": {"max_completion_length": LONGEST_ANSWER},
    }
    return built(Path(task).stem, tree, overrides, data_dir)


def built(
    name: str, tree: Mapping[str, Any], overrides: Sequence[str], data_dir: str | None
) -> Benchmark:
    """Build a benchmark from the settings of its file and those given; UserError as above."""
    # SamplingConfig's own default is the temperature of training. A file that sets other keys of
    # ``sampling`` replaces the field's default, so that greedy decoding is merged in below it.
    tree = config.merge({"sampling": {"temperature": GREEDY.temperature}}, tree)
    own = coercion.build(Benchmark, {**tree, "name": name})
    for override in overrides:
        given = config.parse_override(override)
        if isinstance(given.get("data"), Mapping):  # `data` itself is a text here
            given |= given.pop("data")
        tree = config.merge(tree, given)
    if data_dir is not None:
        tree = config.merge(tree, {"task": {"settings": {"data_dir": data_dir}}})
    benchmark = coercion.build(Benchmark, {**tree, "name": name})
    if benchmark.data and "data_dir" not in benchmark.task.settings:
        raise UserError(f"{benchmark.name}: give its data with --data DIR: {benchmark.data}")
    if benchmark.repeats < 1:
        raise UserError(f"{benchmark.name}: repeats={benchmark.repeats}; ask at least once")
    if benchmark.repeats > 1 and benchmark.sampling.temperature == 0:
        raise UserError(
            f"{benchmark.name}: {benchmark.repeats} greedy answers to a question are all the same; "
            "set sampling.temperature above 0 or repeats=1"
        )
    return replace(
        benchmark,
        task=with_absolute_paths(benchmark.task),
        other_data=benchmark.other_data or difference_in_data(own, benchmark),
        other_decoding=benchmark.other_decoding or difference_in_decoding(own, benchmark),
    )


def difference_in_data(own: Benchmark, asked: Benchmark) -> str:
    """Return the first setting by which ``asked`` has other samples than its file says; else "".

    A file that names no data has its user name them.
    """
    declared, given = (b.task.settings.get("data_dir") for b in (own, asked))
    if declared is not None and given != declared:
        return f"task.data_dir={given}"
    if asked.task.name != own.task.name:
        return f"task.name={asked.task.name}"
    return f"split={asked.split}" if asked.split != own.split else ""


def difference_in_decoding(own: Benchmark, asked: Benchmark) -> str:
    """Return the first setting by which ``asked`` decodes otherwise than its file says; else "".

    More or fewer repeats are other draws from the same distribution.
    """
    for name in DECODING:
        value = getattr(asked.sampling, name)
        if value != getattr(own.sampling, name):
            return f"sampling.{name}={value}"
    return ""


def with_absolute_paths(task: TaskConfig) -> TaskConfig:
    """Return the task with absolute paths, so that its predictions can be shown from any folder."""
    settings = dict(task.settings)
    if isinstance(data_dir := settings.get("data_dir"), str):
        settings["data_dir"] = registry.absolute_data(data_dir)
    name = os.path.abspath(task.name) if task.name.endswith(".py") else task.name
    return TaskConfig(name, settings)
