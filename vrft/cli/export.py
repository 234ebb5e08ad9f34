"""The command ``vrft export``: a trained model as a folder for others, with its model card."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.errors import PictureError, UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config
    from vrft.policy.policy import ModelPolicy
    from vrft.runs.model_card import Facts
    from vrft.types import Prompt

TRIED = 8
"""Prompts that are answered before and after."""

LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
"""Files of a base model that are handed on with it."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``vrft export``."""
    verb.add_argument(
        "model",
        type=paths.at_home,
        metavar="RUN|MODEL",
        help="a run, a checkpoint or any model",
    )
    verb.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    verb.add_argument("--merge", action="store_true", help="add a LoRA adapter to its base")
    verb.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="bfloat16",
        help="precision of the weights; default: bfloat16, as models are published",
    )
    verb.add_argument(
        "--license", metavar="ID", help="for the card, as the hub names it; default: the base's"
    )
    verb.add_argument("--push", metavar="ID", help="upload the folder to this name of the hub")


def export(args: argparse.Namespace) -> int:
    """Write a folder that plain transformers load, and say whether it answers as before."""
    from vrft import models, policy
    from vrft.config.schema import ModelConfig
    from vrft.evaluation import locate
    from vrft.policy import exporting
    from vrft.runs import card_facts, model_card

    exporting.check_new(args.to)
    source = locate.model(args.model)
    if args.merge and not models.is_adapter(source):
        raise UserError("--merge: the model has no adapter; leave it out")
    run = locate.run_of(source)
    config = card_facts.settings_of(run)
    # In float32, in which an adapter is merged without another rounding.
    actor = policy.load(ModelConfig(name=source, dtype="float32"))
    prompts, samples = prompts_of(config)
    prompts, before = answered(actor, prompts)
    facts = replace(
        card_facts.facts_of(actor.loaded, source, run, config, merge=args.merge),
        name=args.push or args.to.absolute().name,
        dtype=args.dtype,
        samples=samples,
        prompt=prompts[0] if prompts else None,
    )
    if args.license:
        facts = replace(facts, licence=args.license)
    line = written(args, actor, facts, prompts, before)
    print(f"model: {args.to}\n{line}")
    if not facts.adapter:
        print(f"serve it: {model_card.vllm_line(str(args.to), facts)}")
    if args.push:
        push(args.to, args.push)
    return 0


def written(
    args: argparse.Namespace,
    actor: ModelPolicy,
    facts: Facts,
    prompts: list[Prompt],
    before: list[str],
) -> str:
    """Write the folder with its card, and return what became of its answers, in a line.

    It has its name once it is complete and was asked again. Raises UserError, and leaves nothing
    behind, where the disk takes no more and where float32 weights answer otherwise than before.
    """
    from vrft.policy import exporting
    from vrft.runs import card_facts
    from vrft.runs.model_card import model_card
    from vrft.system import disk_errors
    from vrft.system.durable import write_text

    then = "and give the command again"
    with disk_errors.explained(args.to, then=then), exporting.staged(args.to) as folder:
        exporting.write(actor, folder, merge=args.merge, dtype=args.dtype)
        for path in card_facts.base_files(facts.base, LICENCES):
            shutil.copyfile(path, folder / path.name)
        write_text(folder / "README.md", model_card(facts), errors="backslashreplace")
        return compared(exporting.changed(before, folder, prompts, args.dtype), len(prompts), args)


def compared(changed: int, count: int, args: argparse.Namespace) -> str:
    """Return how many answers are those from before; UserError if some changed in float32."""
    if not count:
        return "its answers were not compared: there are no prompts of its task"
    if changed and args.dtype == "float32":
        raise UserError(
            f"{changed} of {count} greedy answers changed, though the weights are float32 as "
            "before: nothing was written; report it"
        )
    reason = f", in {args.dtype} rounding" if changed else ""
    return f"greedy answers as before: {count - changed} of {count}{reason}"


def answered(actor: ModelPolicy, prompts: list[Prompt]) -> tuple[list[Prompt], list[str]]:
    """Return the prompts whose pictures can be read, with the model's greedy answers to them."""
    from vrft.policy import exporting

    asked, texts = [], []
    for prompt in prompts:
        try:
            texts += exporting.answers(actor, [prompt])
        except PictureError as error:
            print(f"note: a prompt is not tried: {error}", file=sys.stderr)
        else:
            asked.append(prompt)
    return asked, texts


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
        said = [line.strip() for line in str(error).splitlines()]
        reason = next(filter(None, said), type(error).__name__)  # some errors have no text
        raise UserError(
            f"--push {name}: {reason}; the folder {folder} is complete: log in by `hf auth login`, "
            f"or upload it by `hf upload {name} {folder}`"
        ) from error
    print(f"pushed: https://huggingface.co/{name}")
