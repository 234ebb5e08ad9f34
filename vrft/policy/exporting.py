"""A model as a plain folder for others: merged where asked for, in the precision asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft.tuners.lora import LoraLayer
from transformers import GenerationConfig

from vrft import models
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models.families import Family
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy, load
from vrft.system import durable, folder_lock
from vrft.types import Prompt

Dtype = Literal["float32", "bfloat16", "float16"]

GREEDY = SamplingConfig(temperature=0.0, max_completion_length=64, max_prompt_length=None)


# --- the folder


def check_new(folder: Path) -> None:
    """Raise UserError unless a folder can be made under this name; an empty one may be there."""
    try:
        taken = folder.is_symlink() or (folder.exists() and not folder.is_dir())
        if taken or (folder.is_dir() and any(folder.iterdir())):
            raise UserError(f"--to {folder}: exists already; name a new folder")
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise UserError(f"--to {folder}: {error.strerror}; name another folder") from error


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside ``folder`` to write into; it takes that name after the block.

    So ``folder`` is there whole and synced to the disk, or not at all. What a killed process has
    left of it is deleted first. Raises UserError where the name is taken, or another process writes
    a folder of the same name.
    """
    folder = folder.absolute()
    check_new(folder)
    temporary, renamed = folder.with_name(f".{folder.name}.unfinished"), False
    with folder_lock.held(temporary, "an export"):
        try:
            for path in temporary.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != folder_lock.NAME:
                    path.unlink()
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    durable.sync(path)
            durable.sync_folders(temporary)
            check_new(folder)
            durable.replace(temporary, folder)  # with the lock in it, which nobody else holds
            renamed = True
            (folder / folder_lock.NAME).unlink(missing_ok=True)
        finally:
            if not renamed:
                shutil.rmtree(temporary, ignore_errors=True)


# --- the model in it


def write(policy: ModelPolicy, folder: Path, *, merge: bool, dtype: Dtype) -> None:
    """Write the policy's model to a folder, its weights in ``dtype``.

    With ``merge``, an adapter is added to the weights that it adapts: W + scaling * B A. Both
    change the policy too. Weights that its family keeps in float32 stay so. Raises UserError for a
    model to be merged that has no adapter, and for a weight that is no finite number in ``dtype``.
    """
    loaded = policy.loaded
    model: Any = loaded.model
    if merge:
        check_has_adapter(loaded)
        assert loaded.adapter is not None
        untie(loaded)
        model = loaded.adapter.merge_and_unload()
    cast(model, loaded.family, dtype)
    loaded.core.generation_config = decoding(loaded)
    plain = LoadedModel(model, loaded.processor, loaded.family, 0, loaded.shared_prefix)
    models.save_model(plain, folder)


def untie(loaded: LoadedModel) -> None:
    """Give the output layer weights of its own where those of the embeddings become others.

    An adapter of one of the two would be added to both where they are the same.
    """
    core: Any = loaded.core
    ends: tuple[Any, Any] = core.get_input_embeddings(), core.get_output_embeddings()
    embeddings, head = (getattr(end, "base_layer", end) for end in ends)  # below an adapter
    if any(isinstance(end, LoraLayer) for end in ends) and head.weight is embeddings.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    if head.weight is not embeddings.weight:
        core.config.tie_word_embeddings = core.config.get_text_config().tie_word_embeddings = False


def check_has_adapter(loaded: LoadedModel) -> None:
    """Raise UserError for a model without an adapter, which cannot be merged."""
    if loaded.adapter is None:
        raise UserError("--merge: the model has no adapter; leave it out")


def cast(model: torch.nn.Module, family: Family, dtype: Dtype) -> None:
    """Put the weights of a model into ``dtype`` but for those that its family keeps in float32.

    Buffers stay as they are: rotary frequencies are made anew at loading. Raises UserError for a
    weight that is no finite number, as one above 65,504 is not in float16.
    """
    for name, weight in model.named_parameters():
        if name.rpartition(".")[2] not in family.float32:
            weight.data = weight.data.to(getattr(torch, dtype))
        if not torch.isfinite(weight).all():
            raise UserError(
                f"--dtype {dtype}: the weight {name} holds a value that is no finite number in it; "
                "choose bfloat16 or float32, or another checkpoint"
            )


def decoding(loaded: LoadedModel) -> GenerationConfig:
    """Return how plain transformers decode as the policy does: greedily, with the same ends.

    A base model's own settings may have a repetition penalty, with which no policy is trained or
    evaluated, and may not name the token that ends a turn.
    """
    return GenerationConfig(
        bos_token_id=loaded.core.generation_config.bos_token_id,
        pad_token_id=loaded.tokenizer.pad_token_id,
        eos_token_id=sorted(loaded.end_ids),
        suppress_tokens=list(loaded.banned_ids) or None,
    )


# --- its answers


def answers(policy: ModelPolicy, prompts: Sequence[Prompt]) -> list[str]:
    """Return the policy's greedy answers of up to 64 tokens, one prompt after the other."""
    texts = []
    for prompt in prompts:
        ((rollout,),) = policy.generate([prompt], 1, GREEDY, [0])
        texts.append(rollout.completion.text)
    return texts


def changed(before: Sequence[str], folder: Path, prompts: Sequence[Prompt], dtype: Dtype) -> int:
    """Return how many greedy answers of the model in ``folder`` differ from those before."""
    after = answers(load(replace(ModelConfig(), name=str(folder), dtype=dtype)), prompts)
    return sum(old != new for old, new in zip(before, after, strict=True))
