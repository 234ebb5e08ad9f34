"""From a benchmark and a model to predictions.jsonl, and from predictions and a task to scores."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from vrft import paths, registry
from vrft.config import coercion
from vrft.config.schema import Config, ModelConfig, SamplingConfig
from vrft.errors import PictureError, UserError
from vrft.evaluation import fingerprint, predictions, results
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.scoring import Written, read_samples, summarize
from vrft.images import image_size, open_image
from vrft.progress import progress
from vrft.task import Task
from vrft.types import Prediction, Prompt, Report, Rollout, Sample

if TYPE_CHECKING:  # the room of policy imports torch
    from vrft.policy import Generator

GREY = (127, 127, 127)

OnBadPicture = Literal["error", "skip"]


def run(
    benchmark: Benchmark,
    model: ModelConfig,
    out: Path,
    *,
    policy: Generator | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    blank_images: bool = False,
    fresh: bool = False,
) -> Report:
    """Evaluate ``model`` and write predictions.jsonl, scores.json and index.html to ``out``.

    An interrupted evaluation with the same settings is continued. The model is loaded only if
    answers are missing, and not at all where ``policy`` holds it already. Raises UserError if
    ``out`` holds predictions that were made with other settings, data or code; ``fresh`` forgets
    them.
    """
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, limit)
    prompts = {sample.id: task.prompt(sample) for sample in samples}
    settings = answer_settings(benchmark, model, limit=limit, blank_images=blank_images)
    try:
        settings["fingerprint"] = fingerprint.of_evaluation(task, samples, prompts)
    except PictureError:
        bad = bad_pictures(prompts, benchmark.on_bad_picture)
        hashed = {id: replace(p, images=()) if id in bad else p for id, p in prompts.items()}
        settings["fingerprint"] = fingerprint.of_evaluation(task, samples, hashed)
    answers = predictions.prepare(out, settings, fresh=fresh)
    total = len(samples) * benchmark.repeats
    if len(answers) < total:
        made = predict(
            policy or load_policy(model),
            prompts,
            benchmark.sampling,
            batch_size=batch_size,
            repeats=benchmark.repeats,
            seed=benchmark.seed,
            blank_images=blank_images,
            on_bad_picture=benchmark.on_bad_picture,
            done={(prediction.sample_id, prediction.repeat) for prediction in answers},
        )
        with progress(total, benchmark.name, done=len(answers)) as shown:
            for prediction in predictions.append(out, made):
                answers.append(prediction)
                shown.advance(1)
    evaluation = results.score_predictions(
        benchmark, task, samples, answers, settings, folder=out, prompts=prompts
    )
    results.publish(evaluation, out)
    return evaluation.report


def score_file(
    path: Path,
    benchmark: Benchmark,
    *,
    limit: int | None = None,
    out: Path | None = None,
    boxes: Written | None = None,
    fresh: bool = False,
) -> Report:
    """Score saved answers without a model; write to ``out`` what ``run`` writes there.

    ``path`` is a predictions.jsonl, or a file of another tool with ``id`` and ``text`` in each
    line; ``boxes`` says how that tool writes boxes. Raises UserError for a line that cannot be
    read, for an answer to no sample, for boxes written nobody knows how, and if ``out`` holds
    another evaluation, which ``fresh`` forgets.
    """
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, limit)
    settings: dict[str, Any] = {
        "benchmark": coercion.to_plain(benchmark),
        "predictions": str(path.resolve()),
        "limit": limit,
        "fingerprint": fingerprint.of_samples(samples),
    }
    if out is not None and path.resolve() == (out / predictions.PREDICTIONS).resolve():
        settings = settings_in_place(out, settings)
    if boxes is not None:
        settings["boxes"] = boxes
    answers = predictions.read_predictions(path)
    evaluation = results.score_predictions(benchmark, task, samples, answers, settings, folder=out)
    if out is not None:
        predictions.store(out, settings, answers, fresh=fresh)
        results.publish(evaluation, out)
    return evaluation.report


def settings_in_place(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of answers that are scored where they lie: those that made them.

    Raises UserError if they were made for another benchmark or limit.
    """
    if not (out / predictions.SETTINGS).is_file():
        return settings
    made = predictions.read_settings(out)
    now = {"benchmark": settings["benchmark"], "limit": settings["limit"], "fingerprint": {}}
    predictions.check_same(out, {**made, **now})
    return made


def load_policy(model: ModelConfig) -> Generator:
    """Load the model as a policy; torch is imported here and not before."""
    from vrft import policy

    return policy.load(model)


def answer_settings(
    benchmark: Benchmark, model: ModelConfig, *, limit: int | None, blank_images: bool
) -> dict[str, Any]:
    """Return everything that the answers depend on, in the form of settings.json."""
    folder = Path(paths.model(model.name))
    if folder.is_dir() and model.name not in paths.EMBEDDED:
        model = replace(model, name=str(folder.resolve()))
    # A model that was trained again under the same name has other answers. Its weights have
    # another size or time then; hashing some gigabytes would take longer than a short evaluation.
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
    policy: Generator,
    prompts: Mapping[str, Prompt],
    sampling: SamplingConfig,
    *,
    batch_size: int,
    repeats: int = 1,
    seed: int = 0,
    blank_images: bool = False,
    on_bad_picture: OnBadPicture = "error",
    done: Collection[tuple[str, int]] = (),
) -> Iterator[Prediction]:
    """Generate ``repeats`` answers to each prompt, and yield them batch by batch.

    ``prompts`` are by sample id, in the order of the answers; ``done`` holds (sample id, repeat)
    of the answers that are there already. A sample whose picture cannot be read is a UserError that
    names it, or has no answer, with a note on standard error at the end: missing answers are wrong.
    """
    left_out: dict[str, str] = {}
    missing = [id for id in prompts if any((id, r) not in done for r in range(repeats))]
    for start in range(0, len(missing), batch_size):
        batch = {id: prompts[id] for id in missing[start : start + batch_size]}
        answer = partial(answers_to, policy, repeats, sampling, seed, blank_images)
        try:
            groups = answer(batch)
        except PictureError:
            bad = bad_pictures(batch, on_bad_picture)
            if not bad:
                raise
            left_out |= bad
            groups = answer({id: prompt for id, prompt in batch.items() if id not in bad})
        for id, rollouts in groups.items():
            for repeat, rollout in enumerate(rollouts):
                # All repeats are drawn again where one was missing: they share one random stream.
                if (id, repeat) not in done:
                    text, views = rollout.completion.text, rollout.completion.views
                    length = len(rollout.tokens)
                    yield Prediction(id, text, views, repeat, length, rollout.finished)
    if left_out and os.environ.get("RANK", "0") == "0":  # one process of a launch speaks for all
        (id, reason), count = next(iter(left_out.items())), len(left_out)
        print(
            f"note: {count} of {len(prompts)} samples have a picture that cannot be read, and "
            f"count as wrong (data.on_bad_picture=skip); the first is {id!r}: {reason}",
            file=sys.stderr,
        )


def answers_to(
    policy: Generator,
    repeats: int,
    sampling: SamplingConfig,
    seed: int,
    blank_images: bool,
    prompts: Mapping[str, Prompt],
) -> dict[str, tuple[Rollout, ...]]:
    """Generate answers to a batch of prompts by sample id; no prompts have none."""
    # Batch by batch: the grey pictures of all samples might not fit into memory.
    asked = [blank_pictures(prompt) if blank_images else prompt for prompt in prompts.values()]
    # A seed per sample: neither the batch size nor an interruption changes what is drawn.
    seeds = [sample_seed(seed, id) for id in prompts]
    groups = policy.generate(asked, repeats, sampling, seeds) if asked else []
    return dict(zip(prompts, groups, strict=True))


def bad_pictures(prompts: Mapping[str, Prompt], on_bad_picture: OnBadPicture) -> dict[str, str]:
    """Return sample id -> reason of the prompts with a picture that cannot be read.

    Raises UserError that names the first, where ``on_bad_picture`` is "error".
    """
    bad: dict[str, str] = {}
    for id, prompt in prompts.items():
        try:
            for image in prompt.images:
                open_image(image)
        except PictureError as error:
            if on_bad_picture == "error":
                raise UserError(
                    f"sample {id!r}: {error}; data.on_bad_picture=skip counts it as wrong"
                ) from error
            bad[id] = str(error)
    return bad


def while_training(config: Config, task: Task[Any], policy: Generator) -> dict[str, float]:
    """Return greedy scores on ``eval.split`` by the names of transformers' trainers: eval_<metric>.

    Raises UserError for a split without samples.
    """
    samples = read_samples(task, config.eval.split, config.eval.limit)
    prompts = {sample.id: task.prompt(sample) for sample in samples}
    # The likeliest token survives any top_k and top_p: at temperature 0 they would only cost time.
    greedy = replace(config.sampling, temperature=0.0, top_k=0, top_p=1.0)
    made = predict(
        policy,
        prompts,
        greedy,
        batch_size=config.eval.batch_size,
        on_bad_picture=config.data.on_bad_picture,
    )
    answers = list(made)
    report = summarize(task, samples, answers, config.eval.split, prompts=prompts)
    return {f"eval_{name}": interval.mean for name, interval in report.metrics.items()}


def metric_names(task: Task[Any], samples: Sequence[Sample[Any]]) -> list[str]:
    """Return the names of the scores that ``while_training`` has on these samples."""
    # Every answer missing: the denominator of every metric is the number of samples all the same.
    report = summarize(task, samples, [], "")
    return [f"eval_{name}" for name in report.metrics]


def sample_seed(seed: int, sample_id: str) -> int:
    """Return the seed of one sample, in [0, 2**32) and the same in every process."""
    # Python's own hash() of a text differs from process to process.
    text = f"{seed}/{sample_id}".encode(errors=predictions.ESCAPED)
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def blank_pictures(prompt: Prompt) -> Prompt:
    """Return the prompt with grey pictures of the same sizes: its score is that of guessing.

    Equal sizes keep the number of image tokens, so that only the contents are missing.
    """
    grey = [Image.new("RGB", image_size(image), GREY) for image in prompt.images]
    return replace(prompt, images=tuple(grey))
