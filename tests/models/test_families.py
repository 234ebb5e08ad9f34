"""Model families: every row agrees with the models that transformers builds from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from vrft.errors import UserError
from vrft.models import families
from vrft.models.families import FAMILIES, VISION_TOKENS
from vrft.models.loaded import LoadedModel
from vrft.step_plans import shape

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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_position_embeddings": 32768.0}, "none of a model .*'max_position_embeddings'"),
        ({"layer_types": ["full_attention"]}, "none of a model .*`num_hidden_layers`"),
        ({"rope_parameters": "x"}, "none of a model .*'rope_parameters'"),
        ({"dtype": "bf16"}, "none of a model .*'bf16'"),
        ({"quantization_config": "x"}, "none of a model"),
        ({"attention_dropout": 0.1}, "config.json has attention_dropout=0.1, .* set it to 0.0"),
        (
            # of the older kind, which names no layers
            {
                "use_sliding_window": True,
                "sliding_window": 64,
                "max_window_layers": 1,
                "layer_types": None,
            },
            "config.json has layers of sliding_attention .*use_sliding_window",
        ),
    ],
)
def test_a_configuration_with_which_no_model_can_be_made_is_refused_in_one_line(
    changes: dict[str, Any], words: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    config = json.loads((model_folder("qwen2") / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    # When a model is loaded, and when its step is planned.
    for read in (families.read_family, shape.read):
        with pytest.raises(UserError, match=words) as caught:
            read(str(tmp_path))
        assert "\n" not in str(caught.value)
