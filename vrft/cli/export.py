"""The command ``vrft export``: a trained model as a folder for others, with its model card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config
    from vrft.types import Prompt

TRIED = 8
"""Prompts that are answered before and after."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``vrft export``."""
    verb.add_argument("model", metavar="RUN|MODEL", help="a run, a checkpoint or any model")
    verb.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    verb.add_argument("--merge", action="store_true", help="add a LoRA adapter to its base")
    verb.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="bfloat16",
        help="precision of the weights; default: bfloat16, as models are published",
    )
    verb.add_argument("--push", metavar="ID", help="upload the folder to this name of the hub")


def export(args: argparse.Namespace) -> int:
    """Write a folder that plain transformers load, and say whether it answers as before."""
    from vrft import policy
    from vrft.config.schema import ModelConfig
    from vrft.durable import write_text
    from vrft.evaluation import locate
    from vrft.policy import exporting
    from vrft.runs.model_card import Facts, model_card

    folder: Path = args.to
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--to {folder}: is not empty; name a new folder")
    source = locate.model(args.model)
    run = run_of(args.model, source)
    config = settings_of(run)
    # In float32, in which an adapter is merged without another rounding.
    actor = policy.load(ModelConfig(name=source, dtype="float32"))
    prompts, samples = prompts_of(config)
    before = exporting.answers(actor, prompts)
    adapter = actor.loaded.adapter is not None and not args.merge
    exporting.write(actor, folder, merge=args.merge, dtype=args.dtype)
    facts = Facts(
        name=folder.resolve().name,
        base=base_name(config, source),
        family=actor.loaded.core.config.model_type,
        space=actor.loaded.family.space if actor.loaded.family.has_vision else None,
        adapter=adapter,
        dtype=args.dtype,
        config=config,
        samples=samples,
        prompt=prompts[0] if prompts else None,
        scores=scores_of(run),
        versions=versions(),
    )
    write_text(folder / "README.md", model_card(facts), errors="backslashreplace")
    print(f"model: {folder}")
    say_tried(exporting.changed(before, folder, prompts, args.dtype), len(prompts), args.dtype)
    if args.push:
        push(folder, args.push)
    return 0


def say_tried(changed: int, count: int, dtype: str) -> None:
    """Print how many answers are those from before; UserError if some changed in float32."""
    if not count:
        print("note: without prompts of its task its answers were not compared", file=sys.stderr)
        return
    if changed and dtype == "float32":
        raise UserError(
            f"{changed} of {count} greedy answers changed, though the weights are float32 as "
            "before: do not use this folder, and report it"
        )
    reason = f", in {dtype} rounding" if changed else ""
    print(f"greedy answers as before: {count - changed} of {count}{reason}")


def run_of(name: str, source: str) -> Path | None:
    """Return the folder of the run that a model comes from; None for a model of no run."""
    for folder in (Path(name), Path(source).parent):
        if (folder / "config.yaml").is_file() and (folder / "metrics.jsonl").is_file():
            return folder
    return None


def settings_of(run: Path | None) -> Config | None:
    """Return the settings of a run."""
    from vrft.config import loading

    return loading.load(str(run / "config.yaml")) if run else None


def base_name(config: Config | None, source: str) -> str:
    """Return the model that training began with."""
    from vrft.models import folders

    return config.model.name if config else folders.base_of(source)


def prompts_of(config: Config | None) -> tuple[list[Prompt], int]:
    """Return the first prompts of the training split, and its size; none without its data."""
    from vrft import registry
    from vrft.task import Task

    if config is None:
        return [], 0
    try:
        task: Task[Any] = registry.build(config.task)
        samples = task.samples("train")
    except UserError as error:
        print(f"note: the run's data cannot be read: {error}", file=sys.stderr)
        return [], 0
    return [task.prompt(sample) for sample in samples[:TRIED]], len(samples)


def scores_of(run: Path | None) -> list[Path]:
    """Return the files of scores of a run's evaluations."""
    from vrft.evaluation import locate

    folders = locate.evaluations(run) if run else []
    return [folder / "scores.json" for folder in folders if (folder / "scores.json").is_file()]


def versions() -> dict[str, str]:
    """Return the versions that made the model."""
    from importlib.metadata import version

    return {name: version(name) for name in ("vrft", "torch", "transformers", "peft")}


def push(folder: Path, name: str) -> None:
    """Upload a folder to the hub, as transformers' ``push_to_hub`` does; UserError if it fails."""
    import huggingface_hub
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    hub = huggingface_hub.HfApi()
    try:
        hub.create_repo(name, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder)
    except (HfHubHTTPError, HTTPError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--push {name}: {reason}; the folder {folder} is complete: log in by `hf auth login`, "
            f"or upload it by `hf upload {name} {folder}`"
        ) from error
    print(f"pushed: https://huggingface.co/{name}")
