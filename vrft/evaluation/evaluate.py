"""A benchmark and a model make predictions.jsonl; predictions and a task make the scores."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from vrft import paths, registry
from vrft.config import coercion
from vrft.config.schema import Config, ModelConfig, SamplingConfig
from vrft.evaluation import predictions, results
from vrft.evaluation.benchmark import GREEDY, Benchmark, load_benchmark
from vrft.evaluation.scoring import read_samples, summarize
from vrft.images import image_size
from vrft.progress import progress
from vrft.task import Task
from vrft.types import A, Prediction, Prompt, Report, Rollout, Sample

__all__ = ["GREEDY", "Benchmark", "load_benchmark", "predict", "run", "score_file", "summarize"]


class Generates(Protocol):
    """The part of a policy that evaluation needs; it takes one seed per prompt."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]: ...


def run(
    benchmark: Benchmark,
    model: ModelConfig,
    out: Path,
    *,
    policy: Generates | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    blank_images: bool = False,
) -> Report:
    """Evaluate ``model`` and write predictions.jsonl, scores.json and index.html to ``out``.

    Goes on where an interrupted evaluation with the same settings stopped. The model is loaded
    only if answers are missing, and not at all where ``policy`` holds it already. Raises
    UserError if ``out`` holds predictions that were made with other settings.
    """
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, limit)
    settings = answer_settings(benchmark, model, limit=limit, blank_images=blank_images)
    found = predictions.prepare(out, settings)
    if len(found) < len(samples) * benchmark.repeats:
        answers = predict(
            policy or load_policy(model),
            task,
            samples,
            benchmark.sampling,
            batch_size=batch_size,
            repeats=benchmark.repeats,
            seed=benchmark.seed,
            blank_images=blank_images,
            done={(prediction.sample_id, prediction.repeat) for prediction in found},
        )
        with progress(len(samples) * benchmark.repeats, benchmark.name, done=len(found)) as shown:
            for prediction in predictions.append(out, answers):
                found.append(prediction)
                shown.advance(1)
    evaluation = results.assess(benchmark, task, samples, found, settings, out)
    results.publish(evaluation, out)
    return evaluation.report


def score_file(
    path: Path, benchmark: Benchmark, *, limit: int | None = None, out: Path | None = None
) -> Report:
    """The scores of saved answers, without a model; written to ``out`` as ``run`` writes them.

    ``path`` is a predictions.jsonl, or a file of another tool with ``id`` and ``text`` in each
    line. Raises UserError for a line that cannot be read and for an answer to no sample.
    """
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, limit)
    settings = {"benchmark": coercion.to_plain(benchmark), "predictions": str(path), "limit": limit}
    found = predictions.read_predictions(path)
    evaluation = results.assess(benchmark, task, samples, found, settings, out)
    if out is not None:
        results.publish(evaluation, out)
    return evaluation.report


def load_policy(model: ModelConfig) -> Generates:
    """The model as a policy; torch is imported here and not before."""
    from vrft import policy

    return policy.load(model)


def answer_settings(
    benchmark: Benchmark, model: ModelConfig, *, limit: int | None, blank_images: bool
) -> dict[str, Any]:
    """Everything that the answers depend on, as it is written to settings.json.

    The weights of a local model are told apart by size and time, so that answers of a model that
    has been trained again since are not taken for its own.
    """
    folder = Path(paths.model(model.name))
    if folder.is_dir() and model.name not in paths.EMBEDDED:
        model = replace(model, name=str(folder.resolve()))
    weights = {path.name: path.stat() for path in sorted(folder.glob("*.safetensors"))}
    return {
        "vrft": version("vrft"),
        "benchmark": coercion.to_plain(benchmark),
        "model": coercion.to_plain(model),
        "weights": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in weights.items()},
        "limit": limit,
        "blank_images": blank_images,
    }


def predict(
    policy: Generates,
    task: Task[A],
    samples: Sequence[Sample[A]],
    sampling: SamplingConfig,
    *,
    batch_size: int,
    repeats: int = 1,
    seed: int = 0,
    blank_images: bool = False,
    done: Collection[tuple[str, int]] = (),
) -> Iterator[Prediction]:
    """Answers in the order of the samples, ``repeats`` of each, as they are generated.

    ``done`` holds (sample id, repeat) of answers not to give again. A sample's seed depends on
    its id alone, so that neither the batch size nor an interruption changes what is drawn.
    """
    todo = [s for s in samples if any((s.id, r) not in done for r in range(repeats))]
    for start in range(0, len(todo), batch_size):
        batch = todo[start : start + batch_size]
        prompts = [task.prompt(sample) for sample in batch]
        if blank_images:
            prompts = [blanked(prompt) for prompt in prompts]
        seeds = [seed_of(seed, sample.id) for sample in batch]
        answers = policy.generate(prompts, repeats, sampling, seeds)
        for sample, rollouts in zip(batch, answers, strict=True):
            for repeat, rollout in enumerate(rollouts):
                if (sample.id, repeat) not in done:
                    yield to_prediction(sample.id, repeat, rollout)


def while_training(settings: Config, task: Task[Any], policy: Generates) -> dict[str, float]:
    """Greedy scores on ``eval.split`` by the names of transformers' trainers: eval_<metric>."""
    samples = read_samples(task, settings.eval.split, settings.eval.limit)
    greedy = replace(settings.sampling, temperature=0.0, top_k=0, top_p=1.0)
    answers = list(predict(policy, task, samples, greedy, batch_size=settings.eval.batch_size))
    report = summarize(task, samples, answers, settings.eval.split)
    return {f"eval_{name}": interval.mean for name, interval in report.metrics.items()}


def to_prediction(sample_id: str, repeat: int, rollout: Rollout) -> Prediction:
    """A rollout as the ``repeat``-th answer to a sample."""
    text, views = rollout.completion.text, rollout.completion.views
    return Prediction(sample_id, text, views, repeat, len(rollout.tokens), rollout.finished)


def seed_of(seed: int, sample_id: str) -> int:
    """The seed of one sample, below 2**32 and the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()[:4], "big")


def blanked(prompt: Prompt) -> Prompt:
    """The prompt with mid-grey pictures of the same sizes: what can be said without looking."""
    grey = [Image.new("RGB", image_size(image), (127, 127, 127)) for image in prompt.images]
    return replace(prompt, images=tuple(grey))
