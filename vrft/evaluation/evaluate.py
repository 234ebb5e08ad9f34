"""An evaluation from its benchmark and model to the answers, their scores and the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vrft import paths
from vrft.config import coercion
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config, ModelConfig
from vrft.errors import PictureError
from vrft.evaluation import predictions, results
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.questions import (
    OnBadPicture,
    Questions,
    bad_pictures,
    blank_pictures,
    sample_seed,
    say_left_out,
)
from vrft.evaluation.scoring import read_samples, try_metrics
from vrft.evaluation.summary import summarize
from vrft.progress import progress
from vrft.task import Task
from vrft.types import Prediction, Prompt, Report, Rollout, Sample

if TYPE_CHECKING:  # the room of policy imports torch
    from vrft.policy import Generator


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
    """Evaluate ``model`` and write predictions.jsonl and scores.json to ``out``.

    An interrupted evaluation with the same settings is continued. The model is loaded only if
    answers are missing, and not at all where ``policy`` holds it already. Raises UserError if
    another process writes into ``out``, or it holds predictions that were made with other settings,
    data or code; ``fresh`` forgets them.
    """

    def load() -> Answers:
        return partial(
            predict,
            policy or load_policy(model),
            sampling=benchmark.sampling,
            batch_size=batch_size,
            repeats=benchmark.repeats,
            seed=benchmark.seed,
            blank_images=blank_images,
            on_bad_picture=benchmark.on_bad_picture,
        )

    settings = answer_settings(benchmark, model, limit=limit, blank_images=blank_images)
    return complete(Questions.of(benchmark, limit), settings, load, out, fresh=fresh)


class Answers(Protocol):
    """A giver of answers, which yields those to prompts by sample id that are not ``done``.

    ``done`` holds (sample id, repeat), and ``note`` shows words beside the progress.
    """

    def __call__(
        self,
        prompts: Mapping[str, Prompt],
        *,
        done: Collection[tuple[str, int]],
        note: Callable[[str], None],
    ) -> Iterator[Prediction]: ...


def complete(
    questions: Questions,
    settings: Mapping[str, Any],
    load: Callable[[], Answers],
    out: Path,
    *,
    fresh: bool = False,
) -> Report:
    """Write the answers that ``out`` lacks, then the scores, and return the report.

    ``load`` is called only if answers are missing. Raises UserError as ``run`` does.
    """
    benchmark, prompts = questions.benchmark, questions.prompts
    settings = {**settings, "fingerprint": questions.fingerprint()}
    total = len(prompts) * benchmark.repeats

    def ready() -> Answers:
        """Load what answers, once a score of the task is known to be of use."""
        first = questions.samples[0]
        try_metrics(questions.task, first, prompts[first.id])
        return load()

    with predictions.held(out):
        # Before former answers are forgotten: what cannot be asked must not cost them.
        answer = ready() if fresh and total else None
        answers = predictions.prepare(out, settings, fresh=fresh)
        if len(answers) < total:
            answer = answer or ready()
            done = {(prediction.sample_id, prediction.repeat) for prediction in answers}
            with progress(total, benchmark.name, done=len(answers)) as shown:
                made = answer(prompts, done=done, note=shown.note)
                for prediction in predictions.append(out, made):
                    answers.append(prediction)
                    shown.advance(1)
        evaluation = results.score_predictions(
            benchmark,
            questions.task,
            questions.samples,
            answers,
            settings,
            folder=out,
            prompts=prompts,
        )
        results.publish(evaluation, out)
    return evaluation.report


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
    note: Callable[[str], None] | None = None,
) -> Iterator[Prediction]:
    """Generate ``repeats`` answers to each prompt, and yield them batch by batch.

    ``prompts`` are by sample id, in the order of the answers; ``done`` holds (sample id, repeat)
    of the answers that are there already. A sample whose picture cannot be read is a UserError that
    names it, or has no answer, with a note on standard error at the end: missing answers are wrong.
    ``note`` is not called: a model has no news but its answers.
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
    say_left_out(left_out, len(prompts))


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
