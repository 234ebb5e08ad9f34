"""Processors have their stock names, limits of area, and settings of videos as they came."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vrft.config.schema import LoraConfig
from vrft.errors import UserError
from vrft.models import processors
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.has_vision])
def test_the_processor_has_the_stock_name_with_or_without_torchvision(
    name: str, model_folder: Callable[[str], Path]
) -> None:
    processor = processors.load_processor(str(model_folder(name)))
    assert type(processor).__name__ == FAMILIES[name].processor
    # whether it was loaded or made by image_only, pictures and texts pass it alike
    assert processor.image_token == "<|image_pad|>"
    assert processor.image_token_id == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")


def test_the_processor_of_a_text_only_family_is_its_tokenizer(
    model_folder: Callable[[str], Path],
) -> None:
    tokenizer = processors.load_processor(str(model_folder("qwen2")))
    assert not hasattr(tokenizer, "image_processor") and tokenizer("Where?")["input_ids"]


def test_limits_of_area_replace_those_of_the_checkpoint(
    model_folder: Callable[[str], Path],
) -> None:
    folder = str(model_folder("qwen2_vl"))

    def limits(*asked: int | None) -> list[int]:
        size = processors.load_processor(folder, *asked).image_processor.size
        return [size["shortest_edge"], size["longest_edge"]]

    assert limits() == [56 * 56, 112 * 112]  # as the tiny checkpoint has them
    assert limits(28 * 28) == [28 * 28, 112 * 112]
    assert limits(None, 84 * 84) == [56 * 56, 84 * 84]
    with pytest.raises(UserError, match=r"min_pixels 12545 exceeds model.max_pixels 12544"):
        limits(112 * 112 + 1)


def older(model_folder: Path, folder: Path, **pictures: object) -> Path:
    """Return the folder of a model as transformers 4 wrote it, with other settings of pictures."""
    shutil.copytree(model_folder, folder)
    (folder / "processor_config.json").unlink()
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    for name in ("min_pixels", "max_pixels"):
        settings.pop(name)
    path.write_text(json.dumps(settings | pictures))
    return folder


@pytest.mark.parametrize("kind", processors.FORMER_CLASSES)
def test_the_former_class_of_a_published_checkpoint_is_read_as_todays(
    kind: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = older(model_folder("qwen2_5_vl"), tmp_path / "model", image_processor_type=kind)
    today = processors.load_processor(str(model_folder("qwen2_5_vl")))
    processor = processors.load_processor(str(folder))
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert processor.chat_template == today.chat_template
    assert processor.image_processor.to_dict() == today.image_processor.to_dict()
    with pytest.raises(UserError, match=r"no processor in .*Unrecognized image processor"):
        other = older(
            model_folder("qwen2_5_vl"), tmp_path / "other", image_processor_type="MyImageProcessor"
        )
        processors.load_processor(str(other))


def test_areas_are_read_under_their_plain_names_and_asked_for_where_there_are_none(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = {"min_pixels": 3136, "max_pixels": 12544}
    folder = older(model_folder("qwen2_vl"), tmp_path / "plain", size=plain)
    limits = {"shortest_edge": 3136, "longest_edge": 12544}
    assert dict(processors.load_processor(str(folder)).image_processor.size) == limits
    sides = older(model_folder("qwen2_vl"), tmp_path / "sides", size={"height": 448, "width": 448})
    with pytest.raises(
        UserError, match=r"sides/preprocessor_config.json: its size .*'height': 448"
    ):
        processors.load_processor(str(sides))
    read = processors.load_processor(str(sides), 3136, 12544)
    assert dict(read.image_processor.size) == limits


def test_a_chat_template_beside_the_tokenizer_alone_is_the_processors(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    processor = processors.load_processor(str(folder))
    assert processor.chat_template == template
    processor.save_pretrained(tmp_path / "final")
    shutil.copy(folder / "config.json", tmp_path / "final")
    assert processors.load_processor(str(tmp_path / "final")).chat_template == template


@pytest.mark.parametrize("has", ["tokenizer", "pictures", "nested pictures", "both", "neither"])
def test_what_an_adapters_folder_has_not_is_its_bases(
    has: str, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4), max_pixels=84 * 84)
    loaded.model.save_pretrained(str(tmp_path))
    processor: Any = loaded.processor
    if has in ("tokenizer", "both"):
        processor.tokenizer.chat_template = "Other: {{ messages[0]['content'][0]['text'] }}"
        processor.tokenizer.save_pretrained(tmp_path)
    if has in ("pictures", "both"):
        processors.write_preprocessors(processor, tmp_path)
    elif has == "nested pictures":
        nested = {"image_processor": processor.image_processor.to_dict()}
        (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    read: Any = processors.load_processor(str(tmp_path))
    assert type(read).__name__ == "Qwen2VLProcessor"
    own_pictures = has in ("pictures", "nested pictures", "both")
    assert read.image_processor.size["longest_edge"] == (84 * 84 if own_pictures else 112 * 112)
    own_words = has in ("tokenizer", "both")
    assert str(read.chat_template or read.tokenizer.chat_template).startswith("Other") == own_words
    assert read.image_token_id == read.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    # and saved again, as by a training that goes on with it, it is whole
    read.save_pretrained(tmp_path / "saved")
    shutil.copy(Path(str(loaded.core.name_or_path)) / "config.json", tmp_path / "saved")
    again: Any = processors.load_processor(str(tmp_path / "saved"))
    assert again.chat_template == read.chat_template
    assert again.image_processor.size == read.image_processor.size


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="transformers saves them itself"
)
@pytest.mark.parametrize("nested", [True, False])
def test_the_settings_of_videos_are_saved_as_they_came(
    nested: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "published")
    videos = {"video_processor_type": "Qwen2VLVideoProcessor", "fps": 3}
    if nested:  # as transformers 5 saves a processor
        path = folder / "processor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"video_processor": videos}))
    else:
        (folder / "video_preprocessor_config.json").write_text(json.dumps(videos))
    processors.load_processor(str(folder)).save_pretrained(tmp_path / "final")
    shutil.copy(folder / "config.json", tmp_path / "final")
    # and once more, as a run that begins with it saves it again
    processors.load_processor(str(tmp_path / "final")).save_pretrained(tmp_path / "further")
    for name in ("final", "further"):
        saved = tmp_path / name / "video_preprocessor_config.json"
        assert json.loads(saved.read_text()) == videos
