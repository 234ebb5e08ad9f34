"""Going on with a run: which settings may change, and whether the data are still the same.

A run's folder holds ``config.yaml``, the settings as they are now; ``config-<step>.yaml``, those
from that step on; and ``fingerprint.json``, the data that the run began with.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from vrft import launched
from vrft.config import loading
from vrft.config.rollout import VllmConfig
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models.conversation import give_arguments
from vrft.models.processors import load_processor
from vrft.processes import distributed
from vrft.runs import data_fingerprint, launches, moved_files, run_folder
from vrft.training import checkpoint
from vrft.types import Sample

FREE = frozenset(
    {
        # Where the run ends and how fast it learns on the way.
        *("train.max_steps", "train.num_train_epochs", "train.learning_rate"),
        *("train.lr_scheduler_type", "train.warmup_ratio", "train.weight_decay"),
        *("train.adam_beta1", "train.adam_beta2", "train.adam_epsilon", "train.max_grad_norm"),
        # Records.
        *("train.eval_steps", "train.save_steps", "train.save_total_limit", "train.logging_steps"),
        *("train.metric_for_best_model", "train.greater_is_better"),
        *("train.log_completions", "train.report_to", "train.canaries", "train.strict"),
        *("train.log_token_logprobs", "train.log_completions_steps", "train.log_multimodal"),
        "train.num_completions_to_print",
        *("eval.split", "eval.limit", "eval.batch_size"),
        # Speed and memory. `check_prompts_per_step` sees to it that a step keeps their number.
        *("train.per_device_train_batch_size", "train.gradient_accumulation_steps"),
        *("train.max_tokens_per_micro_batch", "train.dataloader_num_workers", "train.ddp_timeout"),
        "train.hang_timeout",
        *("model.gradient_checkpointing", "model.attn_implementation", "model.shared_prefix"),
        *("model.picture_cache_mib", "model.vision_graph_mib", "sampling.cuda_graphs"),
        # Where a server of rollouts is, and how it is dealt with.
        *(f"rollout.vllm.{field.name}" for field in fields(VllmConfig)),
        # Limits of what hangs or grows.
        *("train.reward_timeout", "train.reward_memory", "train.max_missing_rewards"),
        "train.math_verify_budget",
        # Whether to stop at a reward or prompt that the run has not met so far.
        *("algorithm.missing_rewards", "sampling.max_prompt_length", "data.on_bad_picture"),
        # The folder itself: a run goes on wherever it has been moved to.
        "train.output_dir",
    }
)
"""Settings that a resumed run takes; with any other it would be another run, in its data, model,
objective or random numbers."""

SHOWN = 4
"""Settings that a message names of those that cannot change."""

HISTORY = re.compile(r"config-([1-9]\d*)\.yaml")


def changed(before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ: path -> (before, now), but for the run's folder.

    Paths are the same that lead from the working folder to the same place.
    """
    old, new = (loading.flat(moved_files.absolute(config)) for config in (before, now))
    return {
        path: (old.get(path), new.get(path))
        for path in dict.fromkeys([*old, *new])
        if old.get(path) != new.get(path) and path != "train.output_dir"
    }


def check_settings(config: Config, run: Path) -> None:
    """Raise UserError if settings differ from a run's that would make another run of it."""
    fixed = fixed_changes(run, config)
    if not fixed:
        return
    shown = [f"{path} ({text(old)} -> {text(new)})" for path, (old, new) in fixed.items()]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    remedy = f"leave {'them' if len(shown) > 1 else 'it'} out"
    if fixed == fixed_changes(run, loading.load(str(run / "config.yaml"))):
        # Nobody gave them: config.yaml was edited, or cut off.
        former = run / f"config-{max(history(run))}.yaml"
        remedy = f"copy {former} over {run / 'config.yaml'}, which was edited"
    others = [path for path in fixed if path != "model.name"][:SHOWN]
    raise UserError(
        f"--resume {run}: {', '.join(shown[:SHOWN])}{more} cannot change within a run; {remedy}, "
        f"or {another_run(run, others)}"
    )


def fixed_changes(run: Path, now: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ from a run's and cannot change: path -> (before, now).

    Files may lie elsewhere than before; data, where ``check_data`` can tell them from others.
    """
    free = {*FREE, "task.data_dir"} if (run / data_fingerprint.NAME).is_file() else FREE
    fixed = {
        path: pair
        for path, pair in changed(settings_at(run), now).items()
        if path not in free and not moved_files.is_moved(path, *pair)
    }
    if "algorithm.name" not in fixed:
        return fixed
    # The others follow from its row.
    return {p: pair for p, pair in fixed.items() if p.split(".")[0] != "algorithm"} | {
        "algorithm.name": fixed["algorithm.name"]
    }


def another_run(run: Path, settings: Sequence[str] = ()) -> str:
    """Return the remedy where a run cannot go on: a new one from its weights."""
    final = run / "final"
    weights = final if final.is_dir() else checkpoint.latest(run) or final
    given = ["train.output_dir=NEW", *(f"{path}=..." for path in settings)]
    words = ["vrft", "train", "--config", str(run / "config.yaml"), f"model={weights}", *given]
    return f"begin a new run from its weights: `{shlex.join(words)}`"


def check_run(config: Config, samples: Sequence[Sample[Any]], steps: int, processes: int) -> None:
    """Raise UserError if a run cannot go on until it has taken ``steps`` steps.

    That is where it has taken more already, where a step would have another number of prompts, and
    where the training samples are not those that the run began with.
    """
    run, train = Path(config.train.output_dir), config.train
    done = steps_taken(run)
    if done > steps:
        name = "num_train_epochs" if train.max_steps < 0 else "max_steps"
        raise UserError(
            f"--resume {run}: train.{name}={getattr(train, name):g} makes {steps} steps, and the "
            f"run has taken {done} already; give a larger one, or {another_run(run)}"
        )
    if done == steps and (run / "final").is_dir():
        check_finished(config, run, done)
    check_prompts_per_step(config, run, processes)
    check_data(run, samples)
    check_processor(config, run)


def check_finished(config: Config, run: Path, steps: int) -> None:
    """Raise UserError for settings given to a run that has taken all its ``steps`` steps.

    Without any, a note says that nothing is left to do.
    """
    finished = f"the run is finished: all its {steps} steps are taken"
    given = changed(settings_at(run, steps), config)
    if given:
        raise UserError(
            f"--resume {run}: {finished}, and {', '.join([*given][:SHOWN])} would change none of "
            f"them; give a larger train.max_steps too, or {another_run(run)}"
        )
    if launched.speaks():
        print(f"note: {finished}; give a larger train.max_steps to go on", file=sys.stderr)


def check_prompts_per_step(config: Config, run: Path, processes: int) -> None:
    """Raise UserError if a step would have another number of prompts than the run's steps had."""
    now = config.train.prompts_per_device * processes
    prompts = data_fingerprint.prompts_per_step(run)
    if prompts is None:  # a run from before there was a fingerprint
        prompts = settings_at(run).train.prompts_per_device * processes
    if now == prompts:
        return
    size, parts = config.train.per_device_train_batch_size, config.train.gradient_accumulation_steps
    share, rest = divmod(prompts, size * processes)
    remedy = "leave them out" if rest else f"give train.gradient_accumulation_steps={share}"
    raise UserError(
        f"--resume {run}: train.per_device_train_batch_size={size} and "
        f"train.gradient_accumulation_steps={parts} in {processes} process(es) make steps of {now} "
        f"prompts, but the run's have {prompts}; {remedy}, or {another_run(run)}"
    )


def check_data(run: Path, samples: Sequence[Sample[Any]]) -> None:
    """Raise UserError if the training samples are not those that a run began with.

    Prints a note where pictures in files cannot be told to be the same.
    """
    comparison = data_fingerprint.compare(run, samples)
    if comparison.differences:
        raise UserError(
            f"--resume {run}: the training data are not those that the run began with "
            f"({'; '.join(comparison.differences)}); put them back, or {another_run(run)}"
        )
    if comparison.note and launched.speaks():
        print(f"note: {comparison.note}", file=sys.stderr)


def check_processor(config: Config, run: Path) -> None:
    """Raise UserError if the model to go on from reads prompts otherwise than the run's has."""
    before = launches.at(run, steps_taken(run))
    if before is None or not before.readings:
        return
    source = model_of(config, run)
    processor = load_processor(source, config.model.min_pixels, config.model.max_pixels)
    give_arguments(processor, config.model.chat_template_kwargs)  # a checkpoint's has them already
    launches.check_readings(run, before, launches.readings(processor), source)


def model_of(config: Config, run: Path) -> str:
    """Return the model that a run goes on from: its latest checkpoint, or that of its start."""
    return str(checkpoint.latest(run) or config.model.name)


def launch(config: Config, step: int, policy: Any = None) -> launches.Launch:
    """Return this process's launch of a run from a step on, with what its policy reads prompts by.

    A policy without a model of transformers' has no processor.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = getattr(policy, "loaded", None)
    processor = getattr(loaded, "processor", None)
    return launches.today(step, device, distributed.trainers_precision(config.model), processor)


def settings_at(run: Path, step: int | None = None) -> Config:
    """Return the settings with which a run has taken a step, by default those of its last start.

    Raises UserError for a folder without a run.
    """
    steps = [s for s in history(run) if step is None or s <= max(step, 1)]
    # A run that began before there was a history has config.yaml alone.
    path = run / (f"config-{steps[-1]}.yaml" if steps else "config.yaml")
    if not path.is_file():
        raise UserError(f"--resume {run}: no run there, {path.name} is missing")
    return loading.load(str(path))


def history(run: Path) -> list[int]:
    """Return the steps from which settings of a run held on, in order."""
    matches = [HISTORY.fullmatch(path.name) for path in run.glob("config-*.yaml")]
    return sorted(int(match[1]) for match in matches if match)


def steps_taken(run: Path) -> int:
    """Return the step of a run's latest checkpoint, 0 without one."""
    newest = checkpoint.latest(run)
    return 0 if newest is None else checkpoint.step_of(newest)


def lines(config: Config, run: Path) -> list[str]:
    """Return a line for each setting, version and property of the launch that changes."""
    step = steps_taken(run)
    passed = [f"{path}: {reason}; passed over" for path, reason in checkpoint.damaged(run)]
    settings = [
        f"{path}: {text(old)} -> {text(new)} from step {step + 1} on"
        for path, (old, new) in changed(settings_at(run, step), config).items()
    ]
    before = launches.at(run, step)
    others = [] if before is None else launches.changes(before, launch(config, step + 1))
    return passed + settings + others


def go_on(config: Config, run: Path) -> None:
    """Write down the settings with which a run goes on, and print which of them changed.

    Only the main process calls this.
    """
    step = steps_taken(run)
    for line in checkpoint.set_aside(run):
        print(line, file=sys.stderr)
    print(f"resuming {run} from step {step}", *lines(config, run), sep="\n", file=sys.stderr)
    former = settings_at(run, step)
    config = replace(config, train=replace(config.train, output_dir=str(run)))
    if not history(run):  # a run that began before there was a history
        run_folder.write_settings(former, run, 1)
    first = step + 1 if changed(former, config) else max(step, 1)
    if changed(former, config):
        run_folder.write_settings(config, run, first)
    run_folder.write_settings(config, run)
    # The steps of a start whose checkpoints are gone are taken anew.
    for later in history(run):
        if later > first:
            (run / f"config-{later}.yaml").unlink()


def text(value: Any) -> str:
    """Return a setting's value as a message shows it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
