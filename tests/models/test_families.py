"""Model families: every row agrees with the models that transformers builds from it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from vrft.errors import UserError
from vrft.models import families
from vrft.models.families import FAMILIES, VISION_TOKENS
from vrft.models.loaded import LoadedModel

PROJECTIONS = {
    "qwen3_vl_moe": 2 * 4,  # the weights of experts are no modules
    "qwen3_5": (5 + 3) + (4 + 3),  # a gated delta layer, and one of attention
    "qwen3_5_moe": (5 + 4) + (4 + 4),  # an expert that all tokens share, and its gate
}
"""Linear modules of two layers; of other families 4 projections in attention and 3 in the MLP."""

each_family = pytest.mark.parametrize("name", list(FAMILIES))


@each_family
def test_the_paths_of_a_row_lead_to_its_modules(
    name: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    core, family = load_tiny(name).core, FAMILIES[name]
    assert {*dict(core.get_submodule(family.decoder).named_children())} >= {"layers", "norm"}
    assert family.has_vision == bool(family.vision_tower) == bool(family.patch_embedding)
    if family.has_vision:
        assert {*dict(core.get_submodule(family.vision_tower).named_children())} >= {"blocks"}
        assert isinstance(core.get_submodule(family.patch_embedding), nn.Conv3d)


@each_family
def test_lora_layers_are_those_of_the_decoder_and_none_of_the_vision_tower(
    name: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny(name)
    linear = {path for path, part in loaded.core.named_modules() if isinstance(part, nn.Linear)}
    pattern = rf"{FAMILIES[name].lora_layers}\.\w+"
    adapted = {path for path in linear if re.fullmatch(pattern, path)}
    assert len(adapted) == PROJECTIONS.get(name.removesuffix("_text"), 2 * (4 + 3))
    assert {path.rpartition(".")[2] for path in adapted} >= set(FAMILIES[name].lora_modules)
    decoder = FAMILIES[name].decoder
    assert all(path.startswith(f"{decoder}.layers.") for path in adapted)


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.has_vision])
def test_the_processor_has_the_stock_name_with_or_without_torchvision(
    name: str, model_folder: Callable[[str], Path]
) -> None:
    processor = families.load_processor(str(model_folder(name)))
    assert type(processor).__name__ == FAMILIES[name].processor
    # whether it was loaded or made by image_only, pictures and texts pass it alike
    assert processor.image_token == "<|image_pad|>"
    assert processor.image_token_id == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")


def test_the_processor_of_a_text_only_family_is_its_tokenizer(
    model_folder: Callable[[str], Path],
) -> None:
    tokenizer = families.load_processor(str(model_folder("qwen2")))
    assert not hasattr(tokenizer, "image_processor") and tokenizer("Where?")["input_ids"]


def test_limits_of_area_replace_those_of_the_checkpoint(
    model_folder: Callable[[str], Path],
) -> None:
    folder = str(model_folder("qwen2_vl"))

    def limits(*asked: int | None) -> list[int]:
        size = families.load_processor(folder, *asked).image_processor.size
        return [size["shortest_edge"], size["longest_edge"]]

    assert limits() == [56 * 56, 112 * 112]  # as the tiny checkpoint has them
    assert limits(28 * 28) == [28 * 28, 112 * 112]
    assert limits(None, 84 * 84) == [56 * 56, 84 * 84]
    with pytest.raises(UserError, match=r"min_pixels 12545 exceeds model.max_pixels 12544"):
        limits(112 * 112 + 1)


@each_family
def test_a_family_is_read_from_the_configuration(
    name: str, model_folder: Callable[[str], Path]
) -> None:
    assert families.read_family(str(model_folder(name))) is FAMILIES[name]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "no model there"),  # no config.json at all
        ({"model_type": "gpt2"}, "its family is 'gpt2', not qwen2_vl, qwen2_5_vl, qwen3_vl"),
        ({"model_type": "no-such-type"}, "no model there"),  # transformers knows none either
    ],
)
def test_another_family_is_refused_in_one_line(
    config: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said) as raised:
        families.read_family(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_the_image_token_is_one_of_the_markers_that_are_never_sampled() -> None:
    assert families.IMAGE_TOKEN in VISION_TOKENS
    assert families.IMAGE_TEXT.count(families.IMAGE_TOKEN) == 1


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
    families.load_processor(str(folder)).save_pretrained(tmp_path / "final")
    shutil.copy(folder / "config.json", tmp_path / "final")
    # and once more, as a run that begins with it saves it again
    families.load_processor(str(tmp_path / "final")).save_pretrained(tmp_path / "further")
    for name in ("final", "further"):
        saved = tmp_path / name / "video_preprocessor_config.json"
        assert json.loads(saved.read_text()) == videos
