"""Processors of models: loaded and saved as published, with torchvision or without it.

The stock classes insist on a processor of videos, which only torchvision can make. Without it their
place is taken by classes of the same name that process pictures and texts alone, and keep the
settings of videos as they came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2_5_VLConfig,
)
from transformers.utils.hub import cached_file

from vrft import paths
from vrft.errors import UserError
from vrft.models import folders
from vrft.models.families import MARKERS, Family, first_line, read_config, read_family

Processor = ProcessorMixin | PreTrainedTokenizerBase
"""A processor, or the tokenizer of a text-only model, as in transformers and TRL."""


FORMER_CLASSES = ("Qwen2_5_VLImageProcessor", "Qwen2_5_VLImageProcessorFast")
"""Classes of pictures that published checkpoints name and that transformers has no more, as
Qwen2.5-VL reads its pictures as Qwen2-VL does."""


def load_processor(
    name: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Processor:
    """Load the processor of a model, with or without torchvision, with these limits of area.

    A limit that is None stays as the checkpoint has it. Both are saved with the processor. What an
    adapter's folder has not, a tokenizer or settings of pictures, is its base model's. Raises
    UserError where there is no processor, or not the model's, and where the smallest area would
    exceed the largest.
    """
    source = paths.model(name)
    base = folders.base_of(source)
    family, config = read_family(source), read_config(base)
    pictures = source
    if base != source:
        folders.check_settings(source)
        pictures = source if has_picture_settings(Path(source)) else base
        source = source if (Path(source) / "tokenizer_config.json").is_file() else base
    try:
        if not family.has_vision:
            processor = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        elif source == pictures:
            processor = load_vision_processor(source, family)
        else:
            processor = join_processor(source, pictures, base, family)
    except (OSError, ValueError) as error:
        raise UserError(f"model {name!r}: no processor in {source} ({first_line(error)}); copy its "
                        "files from the published model") from error  # fmt: skip
    folders.check_tokenizer(source, getattr(processor, "tokenizer", processor), config)
    folders.check_template(source, processor)
    if not family.has_vision:
        return processor
    limit_area(processor, min_pixels, max_pixels, pictures)
    return processor


def has_picture_settings(folder: Path) -> bool:
    """Return whether a folder says how pictures are processed, in a file of either layout."""
    nested = folder / "processor_config.json"
    if nested.is_file() and "image_processor" in folders.read_json(nested):
        return True
    return (folder / "preprocessor_config.json").is_file()


def join_processor(source: str, pictures: str, base: str, family: Family) -> Any:
    """Return the processor of a base with a tokenizer or settings of pictures from elsewhere.

    A tokenizer brings its chat template, if it has one.
    """
    processor = load_vision_processor(base, family)
    if source != base:
        processor.tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        processor.chat_template = processor.tokenizer.chat_template or processor.chat_template
    if pictures != base:
        processor.image_processor = load_pictures(pictures)
    return processor


def limit_area(processor: Any, min_pixels: int | None, max_pixels: int | None, source: str) -> None:
    """Set the limits of a picture's area in pixels; None leaves the processor's own.

    Raises UserError where the smallest area would exceed the largest, and for one that neither the
    processor nor the caller names.
    """
    given = processor.image_processor.size
    # Areas in pixels, in spite of their names in transformers; some files have the plain names.
    size = {
        "shortest_edge": min_pixels or given.get("shortest_edge") or given.get("min_pixels"),
        "longest_edge": max_pixels or given.get("longest_edge") or given.get("max_pixels"),
    }
    if None in size.values():
        raise UserError(f"{source}/preprocessor_config.json: its size {dict(given)} does not "
                        "say the smallest and largest area in pixels (shortest_edge, "
                        "longest_edge); copy the file from the published model, or set "
                        "model.min_pixels and model.max_pixels")  # fmt: skip
    if size["shortest_edge"] > size["longest_edge"]:
        raise UserError(f"model.min_pixels {size['shortest_edge']} exceeds model.max_pixels "
                        f"{size['longest_edge']}; raise one or lower the other")  # fmt: skip
    processor.image_processor.size = size


def load_vision_processor(source: str, family: Family) -> Any:
    """Load a processor by transformers' own class, or by ``image_only`` where that refuses.

    Without a chat template of its own it has its tokenizer's, where older checkpoints have theirs.
    """
    try:
        processor: Any = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    except (ImportError, OSError, AttributeError, ValueError):
        # The stock class insists on a video processor, which exists only with torchvision, and
        # on folders saved without one. Everything else about it works without.
        made = image_only(family)
        if has_former_class(source):
            processor = made(
                load_pictures(source),
                AutoTokenizer.from_pretrained(source, trust_remote_code=False),
                chat_template=made.get_processor_dict(source)[0].get("chat_template"),
            )
        else:
            processor = made.from_pretrained(source, trust_remote_code=False)
        processor.video_settings = video_settings(source) or processor.video_settings
    if not processor.chat_template:
        processor.chat_template = processor.tokenizer.chat_template
    return processor


def load_pictures(source: str) -> Any:
    """Load the processing of pictures of a hub id or folder, also under its class's former name."""
    # Given a configuration, transformers takes the class that the family's pictures have today.
    config = Qwen2_5_VLConfig() if has_former_class(source) else None
    return AutoImageProcessor.from_pretrained(source, config=config, trust_remote_code=False)


def has_former_class(source: str) -> bool:
    """Return whether a hub id or folder names a class of pictures that transformers has no more."""
    settings = settings_in(source, "preprocessor_config.json")
    return settings.get("image_processor_type") in FORMER_CLASSES


def settings_in(source: str, name: str) -> dict[str, Any]:
    """Return the settings in a file of a model; none where it has no such file."""
    path = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
    return folders.read_json(Path(path)) if path else {}


def video_settings(source: str) -> Mapping[str, Any] | None:
    """Return the settings of a model's video processor as it publishes them; None for none."""
    for name, key in (("processor_config.json", "video_processor"),
                      ("video_preprocessor_config.json", None)):  # fmt: skip
        settings = settings_in(source, name)
        settings = settings.get(key, {}) if key else settings
        if settings:
            return settings
    return None


def image_only(family: Family) -> Any:
    """Return the family's stock processor class without its video processor, under its own name.

    The name is written into saved folders, where plain transformers looks the class up by it.
    """
    stock = getattr(transformers, family.processor)

    # transformers reads from this signature which parts the processor has.
    def __init__(self: Any, image_processor: Any = None, tokenizer: Any = None,
                 chat_template: Any = None, **kwargs: Any) -> None:  # fmt: skip
        for kind, token in MARKERS.items():
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        # Without settings, transformers takes the class that is named as that of the pictures.
        kind = family.video_processor
        self.video_settings = {"video_processor_type": kind} if kind else None
        # Not the stock class's own __init__, which would ask for the video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def save_pretrained(self: Any, folder: Path | str, **kwargs: Any) -> Any:
        saved = stock.save_pretrained(self, folder, **kwargs)
        write_preprocessors(self, Path(folder))
        return saved

    members = {"__init__": __init__, "save_pretrained": save_pretrained, "__module__": __name__}
    return type(family.processor, (stock,), members)


def write_preprocessors(processor: Any, folder: Path) -> None:
    """Write the settings of pictures and videos as published folders have them.

    Where torchvision is installed, plain transformers makes the video processor of these. Without
    settings of its own, a model's videos are read by those of its pictures.
    """
    size = processor.image_processor.size
    settings = processor.image_processor.to_dict() | {
        "min_pixels": size["shortest_edge"],
        "max_pixels": size["longest_edge"],
        "processor_class": type(processor).__name__,
    }
    videos = getattr(processor, "video_settings", None)
    files = {"preprocessor_config.json": settings, "video_preprocessor_config.json": videos}
    for name, written in files.items():
        if written:
            text = json.dumps(written, indent=2, sort_keys=True) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
