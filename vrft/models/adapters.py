"""LoRA adapters: those that settings ask for, and those that lie in folders, whoever made them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Set
from dataclasses import fields
from pathlib import Path
from typing import Any

from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import nn

from vrft import paths
from vrft.config.schema import LoraConfig
from vrft.errors import UserError
from vrft.models import folders
from vrft.models.families import Family, first_line

ALL_LINEAR = "all-linear"
"""Peft's word for an adapter on every linear module."""

PREFIX = "base_model.model."
"""The beginning of the names of weights below peft's wrapper."""

READ = frozenset({
    # Whose adapter it is, and how it was made: nothing that it computes.
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "init_lora_weights", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "megatron_config", "megatron_core", "runtime_config", "qalora_group_size",
    # Which modules it changes.
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save",
    "target_parameters", "bias",
    # What a changed module computes, in its own forward.
    "r", "rank_pattern", "lora_alpha", "alpha_pattern", "lora_dropout", "use_rslora", "use_dora",
    "lora_bias", "fan_in_fan_out",
})  # fmt: skip
"""Settings of peft's whose adapters compute here as in peft. Others change tokens, whole layers or
the forward of peft's wrapper, which is not called."""


def read_settings(folder: Path) -> PeftLoraConfig:
    """Return the settings of a folder's adapter.

    Raises UserError for another kind than LoRA, and for a LoRA that does more than READ names.
    """
    path = folder / folders.ADAPTER
    kind = folders.read_json(path).get("peft_type")
    instead = "merge it into its base where it was made, or name a LoRA adapter of linear layers"
    if kind != "LORA":
        raise UserError(
            f"{path}: an adapter of the kind {kind!r}, and only LORA is read; {instead}"
        )
    try:
        settings = PeftLoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"{path}: peft does not read it ({first_line(error)}); correct it, or copy "
                        "it again") from error  # fmt: skip
    assert isinstance(settings, PeftLoraConfig)
    default = PeftLoraConfig()
    for name in sorted({field.name for field in fields(settings)} - READ):
        if getattr(settings, name) != getattr(default, name):
            raise UserError(f"{path}: {name} makes it another kind of LoRA than is read; {instead}")
    return settings


def load_adapter(model: Any, source: str, base: str, family: Family, *, train: bool) -> PeftModel:
    """Put the adapter of a folder on its base model.

    Raises UserError for an adapter that is not read (``read_settings``), and unless all its weights
    are there and have a place in the model.
    """
    folders.check_weights(source)
    settings = read_settings(Path(source))
    file = Path(source) / "adapter_model.safetensors"
    stored: list[str] = []
    if file.is_file():
        with safe_open(file, framework="pt") as weights:
            stored = list(weights.keys())
    present = {name: present_name(name, family) for name in stored}
    if any(name != now for name, now in present.items()):
        name_modules(settings, source, present.values())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error, below
            adapted = PeftModel.from_pretrained(
                model, source, config=settings, is_trainable=train,
                key_mapping=dict(family.former_names),
            )  # fmt: skip
    except (RuntimeError, ValueError) as error:  # of other shapes, or for other modules
        raise UserError(f"adapter {source!r} does not fit its base model {base!r} "
                        f"({first_line(error)}); name the right one in {folders.ADAPTER}"
                        ) from error  # fmt: skip
    if stored:
        check_complete(adapted, file, {*present.values()})
    # Written again with every checkpoint: an absolute path, and the class instead of a task type,
    # without which `AutoPeftModel` takes it for any family.
    settings.base_model_name_or_path, settings.task_type = base, None
    return adapted


def present_name(name: str, family: Family) -> str:
    """Return the name that a weight of a folder has in the model, as peft renames it."""
    below = name.removeprefix(PREFIX)
    for former, present in family.former_names:
        renamed, times = re.subn(former, present, below)
        if times:
            return name.removesuffix(below) + renamed
    return name


def name_modules(settings: PeftLoraConfig, source: str, names: Iterable[str]) -> None:
    """Let settings ask for just the modules of these weights, by their whole names.

    They were written for the former names of modules: a pattern of theirs may mean others by now.
    Raises UserError for a rank or a scale that is given by such a name.
    """
    for field in ("rank_pattern", "alpha_pattern"):
        for key in getattr(settings, field):
            if re.search(r"model|visual", key):
                raise UserError(
                    f"{Path(source) / folders.ADAPTER}: {field} has {key!r}, a name from before "
                    "transformers 4.52; write what the module is called in the model now"
                )
    changed = {name.removeprefix(PREFIX).partition(".lora_") for name in names}
    settings.target_modules = sorted({module for module, found, _ in changed if found})
    settings.exclude_modules = settings.layers_to_transform = settings.layers_pattern = None


def check_complete(adapted: PeftModel, file: Path, stored: Set[str]) -> None:
    """Raise UserError unless a file's weights, by their names in the model, are the adapter's."""
    # Without embeddings: peft would ask the hub whether the base model's were changed.
    asked = {*get_peft_model_state_dict(adapted, save_embedding_layers=False)}
    # Peft may have written the base's embeddings beside the adapter, and reads them again.
    strange = sorted(stored - asked - {*adapted.state_dict()})
    lacking = sorted(asked - stored)
    if lacking:
        raise UserError(f"{file}: lacks {len(lacking)} tensor(s) that {folders.ADAPTER} asks for, "
                        f"such as {lacking[0]}; copy both from the same run")  # fmt: skip
    if strange:
        raise UserError(f"{file}: has {len(strange)} tensor(s) that {folders.ADAPTER} does not ask "
                        f"for, such as {strange[0]}; copy both from the same run")  # fmt: skip


def make_adapter(model: Any, lora: LoraConfig, family: Family) -> PeftModel:
    """Put a new adapter on a model as settings ask for it."""
    projections = "|".join(adapted_modules(model, lora, family))
    settings = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        # A regular expression, not a list of names, which would match the vision tower's too.
        target_modules=rf"{family.lora_layers}\.({projections})",
    )
    return get_peft_model(model, settings)


def adapted_modules(model: nn.Module, lora: LoraConfig, family: Family) -> list[str]:
    """Return the names of the modules that an adapter is asked for, the family's where none are.

    They are all linear modules for all-linear, and lie in the decoder's layers. Raises UserError
    for a name that no linear module there has.
    """
    linear = {
        path.rpartition(".")[2]: None
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | LoraLayer)
        and not re.search(r"\.(base_layer|lora_)", path)  # parts of an adapted module
        and re.fullmatch(rf"{family.lora_layers}\.\w+", path)
    }
    asked = lora.target_modules or family.lora_modules
    names = linear if ALL_LINEAR in asked else asked
    for name in names:
        if name not in linear:
            raise UserError(f"model.lora.target_modules: the model has no {name!r}; "
                            f"{paths.suggest(name, [*linear, ALL_LINEAR])}")  # fmt: skip
    return list(names)


def check_adapter(model: PeftModel, asked: LoraConfig, family: Family) -> None:
    """Raise UserError where settings ask for another adapter than the one that is trained on.

    A setting that stands at its default asks for nothing. Raises it also for an adapter of the
    output layer: ``token_logps`` reads that layer's weights, and no forward that would add to them.
    """
    core: Any = model.get_base_model()
    if isinstance(core.get_output_embeddings(), LoraLayer):
        raise UserError("model: the adapter that training begins with changes the output layer, "
                        "whose own weights alone an update would read; merge it by `vrft export "
                        "MODEL --merge --to FOLDER`, and begin with that")  # fmt: skip
    loaded, default = model.peft_config["default"], LoraConfig()
    settings: dict[str, tuple[Any, Any]] = {
        name: (getattr(asked, name), getattr(loaded, name, None))
        for name in ("r", "lora_alpha", "lora_dropout")
        if getattr(asked, name) != getattr(default, name)
    }
    if asked.target_modules != default.target_modules:
        layers = (path for path, part in model.named_modules() if isinstance(part, LoraLayer))
        has = sorted({path.rpartition(".")[2] for path in layers})
        settings["target_modules"] = (sorted(adapted_modules(model, asked, family)), has)
    for name, (setting, has) in settings.items():
        if setting != has:
            raise UserError(f"model.lora.{name}={setting}: the adapter that training begins with "
                            f"has {has}; leave it out, or begin with the base model")  # fmt: skip
