"""Evaluations from Python: ``vrft.evaluate`` and ``vrft.evaluate_checkpoints``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vrft.api.memory import Data, data_source
from vrft.api.model import LoadedPolicy
from vrft.api.options import Model, columns_of, folder_of, model_name, options, overrides
from vrft.api.results import CheckpointsResult, EvalResult, TrainResult
from vrft.cli import arguments, evaluated_task, evaluation
from vrft.cli import data as command_data
from vrft.errors import UserError
from vrft.system import python_files

if TYPE_CHECKING:
    from vrft.evaluation.benchmark import Benchmark
    from vrft.types import Report

Boxes = Literal["thousandths", "pixels", "fractions"]
"""How boxes of another tool's answers are written; pixels are those of the picture's file."""


def evaluate(
    model: Model | LoadedPolicy | None = None,
    data: Data | None = None,
    *,
    predictions: str | os.PathLike[str] | EvalResult | None = None,
    boxes: Boxes | None = None,
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

    A model of a run is asked as it was trained, and rows other than the run's are read by
    themselves, with what ``task`` says of them; settings of the model are given as
    ``model={"name": "runs/mine", "quantization": "nf4"}``. Instead of a model, ``predictions`` are
    answers that are scored as they are: a file with ``id`` and ``text`` in each line, of this
    toolkit or another, or a result; ``boxes`` says how another tool writes boxes. The other options
    are those of the command line. Without ``out``, scored answers are not written anywhere. Raises
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
    >>> from pathlib import Path
    >>> Path("answers.jsonl").write_text('{"id": "a", "text": "<answer>red</answer>"}')
    43
    >>> vrft.evaluate(data=rows, predictions="answers.jsonl").metrics
    {'accuracy': 1.0}
    """
    from vrft.evaluation import locate, rescoring

    if isinstance(model, Mapping):
        others = {name: value for name, value in model.items() if name != "name"}
        model, settings = model.get("name"), {**settings, "model": others}
    if (model is None) == (predictions is None):
        raise UserError("give a model to ask, or predictions=FILE to score, and not both")
    file = predictions.answers if isinstance(predictions, EvalResult) else predictions
    name = None
    if isinstance(model, LoadedPolicy):
        name = model.config.name
    elif model is not None:
        name = locate.model(model_name(model))
    words = {"--benchmark": benchmark, "--out": out, "--limit": limit, "--fresh": fresh}
    # Its default is none that was given: to answers that are made already it says nothing.
    size = None if file is not None and batch_size == evaluation.BATCH_SIZE else batch_size
    words |= {"--batch-size": size, "--blank-images": blank_images, "--boxes": boxes}
    words |= {"--predictions": file, "--model": name}
    args, asked = asked_by(words, data, task, settings)
    if file is not None:
        scored = rescoring.score_file(args.predictions, asked, **evaluation.scoring_options(args))
        return EvalResult(scored, args.out, args.predictions)
    folder = args.out or evaluation.results_folder(args, asked)
    return EvalResult.of(report_of(model, args, asked, folder), folder)


def report_of(model: Any, args: argparse.Namespace, asked: Benchmark, folder: Path) -> Report:
    """Ask a model, or one that is loaded already, and return the report.

    Raises UserError for settings of a model that is loaded.
    """
    from vrft.evaluation import evaluate

    options = evaluation.asking_options(args)
    if not isinstance(model, LoadedPolicy):
        return evaluate.run(asked, evaluation.model_of(args), folder, **options)
    for word in filter(evaluated_task.is_of_model, args.settings):
        raise UserError(f"{word}: the model is loaded already; give its settings to vrft.load")
    return evaluate.run(asked, model.config, folder, policy=model.policy, **options)


def evaluate_checkpoints(
    run: str | os.PathLike[str] | TrainResult,
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
) -> CheckpointsResult:
    """Evaluate every checkpoint of a run, and its final model, as ``vrft eval`` does.

    That is ``vrft eval --all-checkpoints``; the options are those of ``evaluate``, and
    ``model={"quantization": "nf4"}`` are settings of all models. What was evaluated before is not
    asked again. Raises UserError for a folder without models, and for what
    the user can mend.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> short = {"max_completion_length": 8}
    >>> run = vrft.train(
    ...     rows, model="demo", train={"max_steps": 2, "save_steps": 1}, sampling=short,
    ...     algorithm={"num_generations": 2},
    ... )
    >>> result = vrft.evaluate_checkpoints(run, rows, sampling=short)
    >>> result.metrics["final"]
    {'accuracy': 0.0}
    >>> list(result.results)
    ['checkpoint-1', 'checkpoint-2', 'final']
    """
    from vrft.evaluation import checkpoints

    words = {"--benchmark": benchmark, "--out": out, "--limit": limit, "--fresh": fresh}
    words |= {"--batch-size": batch_size, "--blank-images": blank_images}
    words |= {"--all-checkpoints": folder_of(run)}
    args, asked = asked_by(words, data, task, settings)
    folder = args.out or evaluation.results_folder(args, asked)
    reports = checkpoints.run_all(
        args.all_checkpoints,
        asked,
        evaluation.model_of(args),
        folder,
        **evaluation.asking_options(args),
    )
    return CheckpointsResult(reports, folder)


def asked_by(
    words: Mapping[str, Any],
    data: Data | None,
    task: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> tuple[argparse.Namespace, Benchmark]:
    """Return the parsed options of ``vrft eval`` and the benchmark that they name.

    Raises UserError as the command does.
    """
    from vrft.evaluation import locate

    python_files.forget_changed()
    given = overrides({"task": task, **settings})
    model = words.get("--model") or words.get("--all-checkpoints")
    run = None if model is None or words["--benchmark"] else locate.run_of(str(model))
    source = None if data is None else source_of(data, given, run)
    args = arguments.parse(["eval", *options({**words, "--data": source})])
    args.settings = given
    if evaluated_task.asks_nothing(args, given):
        raise UserError("give data or benchmark=NAME; `vrft eval --list` lists the benchmarks")
    evaluation.check_options(args)
    if args.all_checkpoints is not None:
        args.model = str(args.all_checkpoints)
    return args, evaluated_task.benchmark_of(args, given)


def source_of(data: Data, given: Sequence[str], run: Path | None) -> str:
    """Return data as a command names them, which for those of the model's ``run`` are its own.

    Rows in memory lie in the cache by their content, to which the names of their columns of
    pictures belong: ``given`` settings name them, and for the run's own rows its settings do.
    """
    columns = columns_of(given)
    if run is None or isinstance(data, str | os.PathLike):
        return data_source(data, columns)
    # Rows that can be read once only are kept, as they are read twice here.
    if isinstance(data, Mapping):
        data = {k: list(v) if isinstance(v, Iterator) else v for k, v in data.items()}
    elif isinstance(data, Iterator):
        data = list(data)
    trained = command_data.task_of_run(str(run)).settings.get("data_dir")
    with contextlib.suppress(UserError):  # columns of others, which say nothing of these rows
        own = data_source(data, columns_of(given, str(run / "config.yaml")))
        if command_data.same_data(trained, own):
            return own
    return data_source(data, columns)
