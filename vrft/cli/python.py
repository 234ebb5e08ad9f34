"""The same commands from Python: ``vrft.train``, ``vrft.evaluate`` and ``vrft.load``.

Data are a path, a hub id, a ``datasets.Dataset``, or a list of rows in any format that
``vrft.records`` knows. Settings are given by their sections, as in a configuration file:
``train={"max_steps": 200}``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft.cli.memory import Data, data_source
from vrft.cli.results import EvalResult, TrainResult
from vrft.errors import UserError
from vrft.rewards.trl import TrlReward
from vrft.types import Prompt, Turn

if TYPE_CHECKING:
    from vrft.config.schema import Config, ModelConfig
    from vrft.policy import Policy

Rewards = TrlReward | str | Sequence[TrlReward | str] | Mapping[TrlReward | str, float]
"""A reward function, or ``file.py:function``; several; or several with their weights."""


# --- train


def train(
    data: Data | None = None,
    *,
    reward: Rewards | None = None,
    model: str | os.PathLike[str] | Mapping[str, Any] | TrainResult | None = None,
    task: str | Mapping[str, Any] | None = None,
    config: str | None = None,
    resume: str | os.PathLike[str] | TrainResult | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a model as ``vrft train`` does, and return its run.

    ``reward`` is called with TRL's arguments, beside the task's own rewards; several are a list,
    or a mapping of functions to weights. ``task`` and ``config`` are those of the command line;
    without them the data choose the task vqa or grounding. ``resume`` is a run to go on with, which
    wants the functions that it was trained with again. Raises UserError for what the user can mend.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> def brief(completions, **columns):
    ...     return [float(len(completion[0]["content"]) < 80) for completion in completions]
    >>> run = vrft.train(
    ...     rows, reward={brief: 0.5}, model="demo", train={"max_steps": 1},
    ...     sampling={"max_completion_length": 8}, algorithm={"num_generations": 2},
    ... )
    >>> run.rewards
    {1: 0.5}
    >>> (run.model / "config.json").is_file()
    True
    """
    from vrft import registry
    from vrft.cli import arguments, commands
    from vrft.cli.data import TASKS, say_reading

    if data is None and task is None and config is None and resume is None:
        raise UserError("give data, task=NAME or config=NAME; `vrft tasks` lists the tasks")
    functions, sources = named_rewards(reward)
    run = None if resume is None else folder_of(resume)
    name = task if isinstance(task, str) else None
    source = None if data is None else data_source(data, columns_of(task))
    words = {"--data": source, "--task": name}
    words |= {"--config": config, "--resume": None if run is None else str(run)}
    sections = {"task": task if isinstance(task, Mapping) else None, "model": model, **settings}
    argv = ["train", *options(words), *overrides(sections)]
    resolved = with_rewards(commands.resolve(arguments.parse(argv), run), sources, run)
    with registry.reward_functions(functions):
        if resolved.task.name in TASKS:
            say_reading(registry.build(resolved.task), "train")
        if resolved.algorithm.name == "sft":
            from vrft.training import sft

            return TrainResult(sft.train(resolved, resume=run))
        from vrft.training import train

        return TrainResult(train.train(resolved, resume=run))


def named_rewards(reward: Any) -> tuple[dict[str, TrlReward], list[str]]:
    """Return the functions in memory by name, and all rewards as a configuration names them.

    ``reward`` is any value of Rewards, or None. Raises UserError for a function without a name, for
    two of the same name, and for a weight that is no finite number.
    """
    from vrft.config.methods import PYTHON
    from vrft.rewards.values import described, to_number

    if reward is None or callable(reward) or isinstance(reward, str):
        reward = [] if reward is None else [reward]
    if not isinstance(reward, Mapping | list | tuple):
        raise UserError(f"reward: expected a function or a list of them, got {described(reward)}")
    functions: dict[str, TrlReward] = {}
    sources = []
    for item in reward:
        name = item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)
        weight = ""
        if isinstance(reward, Mapping):
            number = to_number(reward[item])
            if number is None or not math.isfinite(number):
                raise UserError(f"reward {name}: the weight {reward[item]!r} is no finite number")
            weight = f"={number!r}"
        if isinstance(item, str):
            sources.append(os.path.abspath(item) + weight)
            continue
        if not callable(item) or not name.isidentifier():
            raise UserError(f"reward {name}: expected a function with a name; write it with def")
        if functions.setdefault(name, item) is not item:
            raise UserError(f"reward {name!r}: two functions of that name; rename one")
        sources.append(f"{PYTHON}:{name}{weight}")
    return functions, sources


def with_rewards(config: Config, sources: Sequence[str], resume: Path | None) -> Config:
    """Return the configuration with further rewards; a resumed run has them already.

    Raises UserError for rewards that are not those of the run to resume.
    """
    known = config.algorithm.rewards
    if resume is None:
        algorithm = replace(config.algorithm, rewards=(*known, *sources))
        return replace(config, algorithm=algorithm)
    if new := [source for source in sources if source not in known]:
        raise UserError(
            f"resume={resume}: the run's rewards are {', '.join(known) or 'those of its task'}, "
            f"and {', '.join(new)} is none of them; they cannot change within a run"
        )
    return config


# --- evaluate


def evaluate(
    model: str | os.PathLike[str] | TrainResult | LoadedPolicy,
    data: Data | None = None,
    *,
    benchmark: str | None = None,
    out: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    blank_images: bool = False,
    fresh: bool = False,
    task: Mapping[str, Any] | None = None,
    **settings: Any,
) -> EvalResult:
    """Evaluate a model as ``vrft eval`` does: on a benchmark, or on the rows of ``data``.

    The options are those of the command line. A model of a run is asked as it was trained. Raises
    UserError for what the user can mend.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> result = vrft.evaluate("demo", rows, sampling={"max_completion_length": 8})
    >>> result.metrics
    {'accuracy': 0.0}
    >>> [prediction.sample_id for prediction in result.predictions]
    ['a']
    """
    from vrft.cli import arguments, commands
    from vrft.cli.data import settings_of_run, task_of
    from vrft.config.schema import ModelConfig
    from vrft.evaluation import evaluate, locate
    from vrft.evaluation.benchmark import load_benchmark

    if benchmark is None and data is None:
        raise UserError("give data or benchmark=NAME; `vrft eval --list` lists the benchmarks")
    policy = model.policy if isinstance(model, LoadedPolicy) else None
    if isinstance(model, LoadedPolicy):
        chosen = model.config
    else:
        chosen = ModelConfig(locate.model(model_name(model)))
    source = None if data is None else data_source(data, columns_of(task))
    others = overrides({"task": task, **settings})
    kind = benchmark
    if kind is None and source is not None:
        kind = task_of(source, "test", others)
        others = [*settings_of_run(chosen.name, kind), *others]
    words = {"--benchmark": kind, "--data": source, "--model": chosen.name}
    words |= {"--out": None if out is None else os.fspath(out), "--batch-size": str(batch_size)}
    words |= {"--limit": None if limit is None else str(limit)}
    args = arguments.parse(["eval", *options(words), *(["--blank-images"] * blank_images)])
    loaded = load_benchmark(args.benchmark, others, args.data)
    folder: Path = args.out or commands.results_folder(args)
    report = evaluate.run(
        loaded,
        chosen,
        folder,
        policy=policy,
        batch_size=args.batch_size,
        limit=args.limit,
        blank_images=blank_images,
        fresh=fresh,
    )
    return EvalResult(report, folder)


# --- load


@dataclass(frozen=True)
class LoadedPolicy:
    """A model in memory, to be asked questions about pictures."""

    policy: Policy
    config: ModelConfig

    def generate(
        self,
        question: str,
        *pictures: Any,
        n: int = 1,
        system: str | None = None,
        turns: Sequence[Turn] = (),
        seed: int = 0,
        **sampling: Any,
    ) -> list[str]:
        """Sample ``n`` answers to a question about pictures: paths, bytes, or of Pillow or NumPy.

        ``<image>`` in the question is the place of a picture; without any, the pictures stand
        before it. ``sampling`` are settings such as ``temperature=0.7``.
        """
        from vrft import config

        drawn = config.load(None, overrides({"sampling": sampling})).sampling
        prompt = Prompt(question, pictures, system, turns=tuple(turns))
        (rollouts,) = self.policy.generate([prompt], n, drawn, [seed])
        return [rollout.completion.text for rollout in rollouts]

    def answer(self, question: str, *pictures: Any, **options: Any) -> str:
        """Return the likeliest answer to a question; ``options`` are those of ``generate``."""
        return self.generate(question, *pictures, **{"temperature": 0.0, **options})[0]


def load(model: str | os.PathLike[str] | TrainResult, **settings: Any) -> LoadedPolicy:
    """Load a model by its folder, hub id or run; ``settings`` are those below ``model``.

    >>> import vrft
    >>> from PIL import Image
    >>> model = vrft.load("demo", max_pixels=3136)
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> answers = model.generate("Which colour?", picture, n=3, max_completion_length=8)
    >>> len(answers)
    3
    >>> model.answer("Which colour?", picture, max_completion_length=8) != ""
    True
    """
    from vrft import config, policy
    from vrft.evaluation import locate

    name = locate.model(model_name(model))
    chosen = replace(config.load(None, overrides({"model": settings})).model, name=name)
    return LoadedPolicy(policy.load(chosen), chosen)


# --- arguments and settings


def model_name(model: Any) -> str:
    """Return the name of a model that is given by a name, a path or a run."""
    if isinstance(model, TrainResult):
        return str(model.folder)
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise UserError(f"model: expected a folder, a hub id or a run, not {type(model).__name__}")


def columns_of(task: Any) -> Mapping[str, str]:
    """Return the names that the settings of a task give to the data's columns."""
    return task.get("columns", {}) if isinstance(task, Mapping) else {}


def folder_of(run: str | os.PathLike[str] | TrainResult) -> Path:
    """Return the folder of a run that is given by a path or as a result."""
    return run.folder if isinstance(run, TrainResult) else Path(run)


def options(words: Mapping[str, str | None]) -> list[str]:
    """Return the options of a command line that have a value."""
    return [f"{name}={value}" for name, value in words.items() if value is not None]


def overrides(sections: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return nested settings as ``key.path=value``, without those that are None.

    Raises UserError for a value that no configuration file can hold.
    """
    from vrft.rewards.values import to_json

    words: list[str] = []
    for name, value in sections.items():
        path = f"{prefix}{name}"
        if isinstance(value, TrainResult):
            value = str(value.model)
        if isinstance(value, Mapping):
            words += overrides(value, f"{path}.")
        elif value is not None or prefix:
            given = os.fspath(value) if isinstance(value, os.PathLike) else value
            try:
                words.append(f"{path}={json.dumps(to_json(given), ensure_ascii=False)}")
            except TypeError as error:
                raise UserError(f"{path}: {error} is no value of a setting") from None
    return words
