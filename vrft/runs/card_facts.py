"""The facts of a model card, gathered from a run's folder, its model and the model below it."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from vrft import paths
from vrft.config import loading, yaml_text
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import locate, settings_file
from vrft.models import folders
from vrft.models.loaded import LoadedModel
from vrft.runs.model_card import Facts


def facts_of(
    loaded: LoadedModel, source: str, run: Path | None, config: Config | None, *, merge: bool
) -> Facts:
    """Return what a run and its model say for the card; the name and the precision are as loaded.

    ``merge`` says that an adapter is handed on as a part of its base.
    """
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
        name=Path(source).name,
        base=base,
        family=loaded.core.config.model_type,
        space=loaded.family.space if vision else None,
        adapter=loaded.adapter is not None and not merge,
        dtype=str(loaded.core.dtype).removeprefix("torch."),
        licence=licence_of(base),
        areas=(size["shortest_edge"], size["longest_edge"]) if vision else None,
        longest=longest(config, loaded.core.config),
        config=config,
        scores=scores_of(run, source),
        versions=versions(),
    )


def settings_of(run: Path | None) -> Config | None:
    """Return the settings of a run."""
    return loading.load(str(run / "config.yaml")) if run else None


def base_name(config: Config | None, source: str) -> str:
    """Return the model that training began with."""
    return config.model.name if config else folders.base_of(source)


def longest(config: Config | None, shape: Any) -> int:
    """Return the tokens of a prompt and its completion by a run's limits; 0 without limits."""
    if config is None or config.sampling.max_prompt_length is None:
        return 0
    limits = config.sampling.max_prompt_length + config.sampling.max_completion_length
    return min(limits, int(shape.get_text_config().max_position_embeddings))


def scores_of(run: Path | None, source: str) -> list[Path]:
    """Return the files of scores of a model's evaluations among those of its run.

    Those of other models, such as the one that training began with, are left out with a note.
    """
    evaluated = locate.evaluations(run) if run else []
    own = [folder for folder in evaluated if evaluated_model(folder) == str(Path(source).resolve())]
    if len(evaluated) > len(own):
        print(
            f"note: {len(evaluated) - len(own)} evaluation(s) of other models than {source} are "
            "not in the card",
            file=sys.stderr,
        )
    return [folder / "scores.json" for folder in own if (folder / "scores.json").is_file()]


def evaluated_model(folder: Path) -> str | None:
    """Return the model whose answers an evaluation holds; None where nobody knows."""
    path = folder / settings_file.SETTINGS
    model = settings_file.read_settings(folder).get("model") if path.is_file() else None
    return model.get("name") if isinstance(model, dict) else None


def base_files(base: str, names: tuple[str, ...]) -> list[Path]:
    """Return those of a base model's files that are on this disk: its folder's, or the cache's."""
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
    return {name: version(name) for name in ("vrft", "torch", "transformers", "peft")}
