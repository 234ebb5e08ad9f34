"""Model folders: what must be in one before it is loaded, and the base that an adapter names.

Only folders on this disk are looked into; what comes from the hub was checked by its client.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vrft import paths
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import template_trial

ADAPTER = "adapter_config.json"
"""The file by which a folder is an adapter's, which holds no weights of its base."""

WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
INDEX = "model.safetensors.index.json"
"""The file that names the parts of weights that lie in several files."""

PICKLES = ("pytorch_model*.bin", "adapter_model*.bin", "*.pth", "*.ckpt")
"""Files of weights in torch's former format: a pickle, which may run code when it is read."""

SETTINGS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.json", "added_tokens.json", "special_tokens_map.json", "chat_template.json",
    "processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json", ADAPTER,
)  # fmt: skip
"""Files of settings and of the tokenizer, as far as a folder has them."""

LFS_POINTER = b"version https://git-lfs"
"""The beginning of the text that git leaves in the place of a large file it has not fetched."""


def is_adapter(name: str) -> bool:
    """Return whether a model's name is the folder of a LoRA adapter."""
    return (Path(paths.model(name)) / ADAPTER).is_file()


def trains_base(config: ModelConfig) -> bool:
    """Return whether a training changes weights of the base model itself, and not an adapter alone.

    An adapter that was made elsewhere may have whole modules or biases of its base beside it.
    """
    if not is_adapter(config.name):
        return not config.lora.r
    settings = read_json(Path(paths.model(config.name)) / ADAPTER)
    return bool(settings.get("modules_to_save")) or settings.get("bias", "none") != "none"


def base_of(source: str) -> str:
    """Return the folder or hub id of an adapter's base model; any other source is its own base.

    A relative path starts where the command runs, else at the adapter's folder or one above it.
    Raises UserError where the adapter names no base, or one that is not there.
    """
    if not is_adapter(source):
        return source
    folder = Path(source)
    name = read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise UserError(f"{folder / ADAPTER}: names no base model; write the base model's folder "
                        "or hub id as base_model_name_or_path")  # fmt: skip
    base = paths.model(name)
    above = [folder.absolute(), *folder.absolute().parents]
    places = [Path(base), *(place / base for place in above)]
    near = next((place for place in places if place.is_dir()), None)
    if near is not None:
        return str(near.absolute())
    # A hub id has one slash and no dot before it; anything else can only be a path.
    if Path(base).is_absolute() or base.startswith(".") or base.count("/") > 1:
        raise UserError(
            f"{folder / ADAPTER}: the base model {name!r} is not there; write its folder or hub id "
            "as base_model_name_or_path"
        )
    return base


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raise UserError where it is none, such as half a file."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); copy the file again") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}: no JSON object; copy the file again")
    return row


def check_settings(source: str) -> None:
    """Raise UserError for a folder's settings or tokenizer that is cut off or a pointer."""
    for path in (Path(source) / name for name in SETTINGS):
        if path.is_file():
            check_pointer(path)
            read_json(path)


def check_weights(source: str) -> None:
    """Raise UserError unless all files of weights that a folder needs are there and complete."""
    folder = Path(source)
    if not folder.is_dir():
        return
    if (folder / INDEX).is_file():
        names = sorted({*read_json(folder / INDEX).get("weight_map", {}).values()})
    else:
        names = [name for name in WEIGHTS if (folder / name).is_file()]
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not names and pickles:
        raise no_safetensors(source, pickles[0])
    if not names:
        raise UserError(f"{folder}: has no weights ({WEIGHTS[0]}); copy or download them")
    for name in names:
        check_weight_file(folder / name)


def no_safetensors(source: str, pickle: str) -> UserError:
    """Return the error for a model that has its weights in a pickle alone."""
    return UserError(
        f"model {source!r}: has no weights in safetensors, and {pickle} is a pickle, which may run "
        "code when it is read; take a copy with model.safetensors, or make one where you trust the "
        "model, by transformers' from_pretrained and save_pretrained"
    )


def check_weight_file(path: Path) -> None:
    """Raise UserError for a file of weights that is missing, a pointer, or cut off."""
    if not path.is_file():
        raise UserError(f"{path}: missing, but {path.parent} names it; copy or download it")
    check_pointer(path)
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt"):  # reads the head, which says how long the file is
                pass
        except SafetensorError as error:
            raise UserError(f"{path}: cut off or damaged ({error}); copy or download it again"
                            ) from error  # fmt: skip


def check_pointer(path: Path) -> None:
    """Raise UserError for a file that git has left in the place of a large one."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UserError(f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull`")


def check_tokenizer(source: str, tokenizer: Any, config: Any) -> None:
    """Raise UserError unless a tokenizer has the ids that the model's configuration names.

    Without its files, transformers makes a tokenizer of a dozen tokens and says nothing.
    """
    text = config.get_text_config()
    size = len(tokenizer)
    wrong = [] if size <= text.vocab_size else [f"{size} tokens for {text.vocab_size} embeddings"]
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        number = getattr(text, name, None)
        if isinstance(number, int) and not 0 <= number < size:
            wrong.append(f"{name} {number} in config.json, and {size} tokens")
    for kind in ("image", "video"):
        expected = getattr(config, f"{kind}_token_id", None)
        number = tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")
        if expected is not None and number != expected:
            wrong.append(f"<|{kind}_pad|> is {number}, and {expected} in config.json")
    if wrong:
        raise UserError(f"model {source!r}: its tokenizer does not fit the model ({wrong[0]}); "
                        "copy tokenizer.json and tokenizer_config.json from the published model"
                        )  # fmt: skip


def check_template(source: str, processor: Any) -> None:
    """Raise UserError for a chat template that never ends, or that fills the memory."""
    has_vision = hasattr(processor, "image_processor")
    try:
        template_trial.try_template(processor.chat_template, has_vision=has_vision)
    except template_trial.TrialError as error:
        raise UserError(f"model {source!r}: its chat template {error}; copy chat_template.jinja "
                        "from the published model") from error  # fmt: skip
