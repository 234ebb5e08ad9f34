"""The command ``vrft export``: a trained model as a folder for others, with its model card."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    verb.add_argument("model", metavar="RUN|MODEL", help="a run, a checkpoint or any model")
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
    from vrft.runs import model_card

    exporting.check_new(args.to)
    source = locate.model(args.model)
    if args.merge and not models.is_adapter(source):
        raise UserError("--merge: the model has no adapter; leave it out")
    run = run_of(args.model, source)
    config = settings_of(run)
    # In float32, in which an adapter is merged without another rounding.
    actor = policy.load(ModelConfig(name=source, dtype="float32"))
    prompts, samples = prompts_of(config)
    prompts, before = answered(actor, prompts)
    facts = facts_of(args, actor, source, run, config)
    facts = replace(facts, samples=samples, prompt=prompts[0] if prompts else None)
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
    from vrft.durable import write_text
    from vrft.policy import exporting
    from vrft.runs import disk_errors
    from vrft.runs.model_card import model_card

    then = "and give the command again"
    with disk_errors.explained(args.to, then=then), exporting.staged(args.to) as folder:
        exporting.write(actor, folder, merge=args.merge, dtype=args.dtype)
        for path in base_files(facts.base, LICENCES):
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


# --- what the card says


def facts_of(
    args: argparse.Namespace,
    actor: ModelPolicy,
    source: str,
    run: Path | None,
    config: Config | None,
) -> Facts:
    """Return what the card says of a model, but for its prompts."""
    from vrft.runs.model_card import Facts

    loaded = actor.loaded
    vision = loaded.family.has_vision
    size = loaded.processor.image_processor.size if vision else {}
    base = base_name(config, source)
    if config is not None and config.model.quantization and loaded.adapter is not None:
        print(
            f"note: the adapter was trained on a base in {config.model.quantization}; here it "
            "stands on the base in full, and may answer otherwise",
            file=sys.stderr,
        )
    return Facts(
        name=args.push or args.to.absolute().name,
        base=base,
        family=loaded.core.config.model_type,
        space=loaded.family.space if vision else None,
        adapter=loaded.adapter is not None and not args.merge,
        dtype=args.dtype,
        licence=args.license or licence_of(base),
        areas=(size["shortest_edge"], size["longest_edge"]) if vision else None,
        longest=longest(config, loaded.core.config),
        config=config,
        scores=scores_of(run, source),
        versions=versions(),
    )


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


def longest(config: Config | None, shape: Any) -> int:
    """Return the tokens of a prompt and its completion by a run's limits; 0 without limits."""
    if config is None or config.sampling.max_prompt_length is None:
        return 0
    limits = config.sampling.max_prompt_length + config.sampling.max_completion_length
    return min(limits, int(shape.get_text_config().max_position_embeddings))


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


def scores_of(run: Path | None, source: str) -> list[Path]:
    """Return the files of scores of a model's evaluations among those of its run.

    Those of other models, such as the one that training began with, are left out with a note.
    """
    from vrft.evaluation import locate

    folders = locate.evaluations(run) if run else []
    own = [folder for folder in folders if evaluated_model(folder) == str(Path(source).resolve())]
    if len(folders) > len(own):
        print(
            f"note: {len(folders) - len(own)} evaluation(s) of other models than {source} are not "
            "in the card",
            file=sys.stderr,
        )
    return [folder / "scores.json" for folder in own if (folder / "scores.json").is_file()]


def evaluated_model(folder: Path) -> str | None:
    """Return the model whose answers an evaluation holds; None where nobody knows."""
    from vrft.evaluation import predictions

    path = folder / predictions.SETTINGS
    model = predictions.read_settings(folder).get("model") if path.is_file() else None
    return model.get("name") if isinstance(model, dict) else None


def base_files(base: str, names: tuple[str, ...]) -> list[Path]:
    """Return those of a base model's files that are on this disk: its folder's, or the cache's."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from vrft import paths

    if Path(paths.model(base)).is_dir():
        known = [Path(paths.model(base)) / name for name in names]
    else:
        try:
            cached = [try_to_load_from_cache(base, name) for name in names]
        except HFValidationError:  # a path that is no longer there
            return []
        known = [Path(path) for path in cached if isinstance(path, str)]
    return [path for path in known if path.is_file()]


def licence_of(base: str) -> str:
    """Return the licence in the head of a base model's own card; "" where none is at hand."""
    from vrft import paths
    from vrft.config import yaml_text

    if base in paths.EMBEDDED:
        return "apache-2.0"
    for path in base_files(base, ("README.md",)):
        opening, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("---\n")
        try:
            head = yaml_text.parse(rest.partition("\n---")[0], str(path))
        except UserError:  # a page of another kind
            continue
        if not opening and isinstance(head, dict) and isinstance(head.get("license"), str):
            return str(head["license"])
    return ""


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
