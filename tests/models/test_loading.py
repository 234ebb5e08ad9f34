"""Loading, freezing, adapting and saving models of every supported family."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Qwen2VLImageProcessorPil,
)
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchEmbed

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import encoding, families, loading
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt, View


def one_update(loaded: LoadedModel, picture: Image.Image) -> dict[str, bool]:
    """Tell of each parameter whether a step of SGD on one completion changes it."""
    before = {name: p.detach().clone() for name, p in loaded.model.named_parameters()}
    images = (picture,) if loaded.family.has_vision else ()
    prompt = encoding.encode(loaded, Prompt("Where?", images))
    module = GroupLogps(loaded)
    module([prompt], [[[5, 6, 7], [8, 9]]]).sum().backward()
    # SGD without momentum moves a weight exactly where its gradient is not 0
    trained = [p for p in module.parameters() if p.requires_grad]
    torch.optim.SGD(trained, lr=1.0).step()
    return {name: not torch.equal(p, before[name]) for name, p in loaded.model.named_parameters()}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_frozen_vision_tower_stays_as_it_is(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    changed = one_update(load_tiny(family, train=True, freeze_vision_tower=True), picture())
    vision = {name for name in changed if ".visual." in name}
    assert vision and not any(changed[name] for name in vision)
    assert any(changed[name] for name in changed.keys() - vision)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_frozen_language_model_stays_as_it_is(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    changed = one_update(load_tiny(family, train=True, freeze_language_model=True), picture())
    vision = {name for name in changed if ".visual." in name}
    assert any(changed[name] for name in vision)
    assert not any(changed[name] for name in changed.keys() - vision)


def test_without_freezing_both_parts_are_trained(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    changed = one_update(load_tiny("qwen2_vl", train=True), picture())
    assert any(moved for name, moved in changed.items() if ".visual." in name)
    assert any(moved for name, moved in changed.items() if ".visual." not in name)


def test_freezing_everything_is_refused(load_tiny: Callable[..., LoadedModel]) -> None:
    with pytest.raises(UserError, match="everything is frozen"):
        load_tiny("qwen2_vl", train=True, freeze_vision_tower=True, freeze_language_model=True)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2"])
def test_lora_trains_adapters_only_and_its_folder_loads_again(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    tmp_path: Path,
) -> None:
    loaded = load_tiny(family, train=True, lora=LoraConfig(r=4))
    changed = one_update(loaded, picture())
    assert {name for name, moved in changed.items() if moved}
    assert all("lora_" in name for name, moved in changed.items() if moved)

    # only the adapter is written; its folder names the model that it belongs to
    models.save_model(loaded, tmp_path)
    assert (tmp_path / "adapter_config.json").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    images = (picture(),) if loaded.family.has_vision else ()
    prompt = encoding.encode(loaded, Prompt("Where?", images))
    again = models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")
    with torch.no_grad():
        before = GroupLogps(loaded)([prompt], [[[5, 6]]])
        assert torch.equal(GroupLogps(again)([prompt], [[[5, 6]]]), before)
    trained = models.load_model(ModelConfig(name=str(tmp_path)), train=True, device="cpu")
    assert any(p.requires_grad for p in trained.model.parameters())


ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
LINEAR = ATTENTION | {"gate_proj", "up_proj", "down_proj"}


def adapted(loaded: LoadedModel) -> set[str]:
    """Return the names of the modules that have an adapter; all lie in the decoder's layers."""
    paths = [path for path, part in loaded.model.named_modules() if isinstance(part, LoraLayer)]
    assert all(".layers." in path and ".visual." not in path for path in paths)
    return {path.rpartition(".")[2] for path in paths}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
@pytest.mark.parametrize(
    ("modules", "names"),
    [
        ((), ATTENTION),
        (("all-linear",), LINEAR),
        (("q_proj", "down_proj"), {"q_proj", "down_proj"}),
    ],
)
def test_lora_is_put_on_the_modules_that_are_named(
    modules: tuple[str, ...], names: set[str], family: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    lora = LoraConfig(r=4, target_modules=modules)
    assert adapted(load_tiny(family, train=True, lora=lora)) == names


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        # one of several, the vision tower's own, a part of a name, a pattern, another model's
        (("q_proj", "v_porj"), "no 'v_porj'; did you mean 'v_proj'"),
        (("qkv",), "no 'qkv'; known: q_proj"),
        (("proj",), "no 'proj'"),
        ((".*_proj",), r"no '\.\*_proj'"),
        (("all_linear",), "no 'all_linear'; did you mean 'all-linear'"),
    ],
)
def test_a_module_that_the_model_does_not_have_is_refused(
    modules: tuple[str, ...], said: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    with pytest.raises(UserError, match=rf"model\.lora\.target_modules: the model has {said}"):
        load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4, target_modules=modules))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        # nothing asked for, or just what the adapter has
        (LoraConfig(), None),
        (
            LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=("v_proj", "q_proj")),
            None,
        ),
        (LoraConfig(r=8), "r=8: .* has 4"),
        (LoraConfig(r=4, lora_alpha=16), "lora_alpha=16: .* has 8"),
        (LoraConfig(lora_dropout=0.2), r"lora_dropout=0\.2: .* has 0\.1"),
        (
            LoraConfig(target_modules=("q_proj",)),
            r"target_modules=\['q_proj'\]: .* has \['q_proj',",
        ),
        (LoraConfig(target_modules=("all-linear",)), "target_modules=.*gate_proj"),
    ],
)
def test_another_adapter_than_the_one_that_is_trained_on_is_refused(
    asked: LoraConfig, said: str | None, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=("q_proj", "v_proj"))
    models.save_model(load_tiny("qwen2_vl", train=True, lora=lora), tmp_path)
    config = ModelConfig(name=str(tmp_path), lora=asked)
    if said is None:
        assert adapted(models.load_model(config, train=True, device="cpu")) == {"q_proj", "v_proj"}
        return
    with pytest.raises(UserError, match=rf"model\.lora\.{said}"):
        models.load_model(config, train=True, device="cpu")


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_saved_folder_loads_in_plain_transformers(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    tmp_path: Path,
) -> None:
    loaded = load_tiny(family, max_pixels=100 * 100)
    models.save_model(loaded, tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(plain) is type(loaded.model)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            plain.state_dict().values(), loaded.model.state_dict().values(), strict=True
        )
    )
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
    for name in ("processor_config.json", "preprocessor_config.json"):
        saved = json.loads((tmp_path / name).read_text())
        assert saved["processor_class"] == families.FAMILIES[family].processor
    assert (saved["min_pixels"], saved["max_pixels"]) == (56 * 56, 100 * 100)


def test_pixel_limits_are_saved_with_the_model_and_used_again(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image], tmp_path: Path
) -> None:
    prompt = Prompt("Where?", (picture(280, 140),))
    # 280 x 140 within 84 * 56 = 4704 pixels: 2 to 1 would be 97 x 48, in steps of 28 84 x 28
    limited = load_tiny("qwen2_vl", min_pixels=28 * 28, max_pixels=84 * 56)
    assert encoding.encode(limited, prompt).views == (View(84, 28),)
    models.save_model(limited, tmp_path)
    again = models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")
    assert encoding.encode(again, prompt).views == (View(84, 28),)
    other = models.load_model(ModelConfig(name=str(tmp_path), max_pixels=280 * 280), device="cpu")
    assert encoding.encode(other, prompt).views == (View(280, 140),)


def test_pixel_limits_that_contradict_each_other_are_refused(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    with pytest.raises(UserError, match=r"exceeds model\.max_pixels"):
        load_tiny("qwen2_vl", min_pixels=10_000, max_pixels=5_000)


def test_the_patch_embedding_is_the_convolution_it_replaces() -> None:
    torch.manual_seed(0)
    stock = PatchEmbed(embed_dim=32)
    patches = torch.randn(10, 3 * 2 * 14 * 14, requires_grad=True)
    expected = stock(patches)
    expected.square().sum().backward()
    gradients = patches.grad.clone(), stock.proj.weight.grad.clone()
    patches.grad = stock.proj.weight.grad = None
    weight = stock.proj.weight  # the same object goes on being trained
    before = torch.random.get_rng_state()
    loading.multiply_patches(stock, "proj")
    assert torch.equal(torch.random.get_rng_state(), before)  # nothing was drawn
    assert isinstance(stock.proj, loading.MatmulPatchEmbedding) and stock.proj.weight is weight
    product = stock(patches)
    product.square().sum().backward()
    assert torch.allclose(product, expected, atol=1e-5)
    assert torch.allclose(patches.grad, gradients[0], atol=1e-4)
    assert torch.allclose(stock.proj.weight.grad, gradients[1], atol=1e-3)


def test_weights_that_are_trained_are_float32_and_others_as_asked(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    def dtypes(**settings: Any) -> set[torch.dtype]:
        return {p.dtype for p in load_tiny("qwen2_vl", **settings).model.parameters()}

    assert dtypes(dtype="bfloat16") == {torch.bfloat16}
    assert dtypes(dtype="bfloat16", train=True) == {torch.float32}
    assert dtypes(dtype="auto") == {torch.float32}  # on a CPU


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(r=4)])
def test_below_an_adapter_that_is_trained_on_the_base_has_the_type_that_was_asked(
    lora: LoraConfig, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    first = load_tiny("qwen2_vl", train=True, dtype="bfloat16", lora=LoraConfig(r=4))
    models.save_model(first, tmp_path)
    config = ModelConfig(name=str(tmp_path), dtype="bfloat16", lora=lora)
    again = models.load_model(config, train=True, device="cpu")
    for loaded in (first, again):
        dtypes = {(p.requires_grad, p.dtype) for p in loaded.model.parameters()}
        assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("beside", [{"modules_to_save": ["lm_head"]}, {"bias": "all"}])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_weights_of_the_base_that_an_adapter_trains_beside_itself_are_float32(
    beside: dict[str, Any], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = AutoModelForCausalLM.from_pretrained(model_folder("qwen2"))
    made = get_peft_model(base, PeftLoraConfig(r=4, target_modules=["q_proj"], **beside))
    made.save_pretrained(tmp_path)
    config = ModelConfig(name=str(tmp_path), dtype="bfloat16", lora=LoraConfig(r=4))
    loaded = models.load_model(config, train=True, device="cpu")
    trained = {name: p.dtype for name, p in loaded.model.named_parameters() if p.requires_grad}
    assert {*trained.values()} == {torch.float32}
    assert not all("lora_" in name for name in trained)


def test_a_model_of_another_family_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="its family is 'llama', not qwen2_vl, qwen2_5_vl, "):
        models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model there"):
        models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")


def test_the_old_layout_of_a_checkpoint_loads(
    model_folder: Callable[[str], Path], picture: Callable[..., Image.Image], tmp_path: Path
) -> None:
    """Load as from the hub: preprocessor_config.json has min_pixels and max_pixels of its own."""
    new = model_folder("qwen2_vl")
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                 "tokenizer_config.json", "chat_template.jinja"):  # fmt: skip
        (tmp_path / name).write_bytes((new / name).read_bytes())
    old = Qwen2VLImageProcessorPil().to_dict() | {
        "min_pixels": 3136, "max_pixels": 12845056, "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    }  # fmt: skip
    del old["size"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    loaded = models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")
    assert dict(loaded.processor.image_processor.size) == {
        "shortest_edge": 3136, "longest_edge": 12845056,
    }  # fmt: skip
    assert encoding.encode(loaded, Prompt("Where?", (picture(280, 140),))).views[0].width == 280


def dtypes(loaded: LoadedModel, part: str) -> set[torch.dtype]:
    """The types of the weights of a part of the model, "visual" or "language_model"."""
    return {weight.dtype for name, weight in loaded.model.named_parameters() if f".{part}." in name}


def in_digits_of_bfloat16(folder: Path, target: Path) -> Path:
    """Copy a model as published ones are, whose weights are numbers of bfloat16."""
    shutil.copytree(folder, target)
    for path in target.glob("*.safetensors"):
        rounded = {name: value.bfloat16() for name, value in load_file(path).items()}
        save_file(rounded, path, metadata={"format": "pt"})
    (target / "manifest.json").unlink(missing_ok=True)
    return target


@pytest.mark.parametrize(
    ("frozen", "part", "trained"),
    [
        ("freeze_language_model", "language_model", "visual"),
        ("freeze_vision_tower", "visual", "language_model"),
    ],
)
def test_a_frozen_part_is_held_in_the_type_that_the_model_computes_in(
    frozen: str,
    part: str,
    trained: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    picture: Callable[..., Image.Image],
) -> None:
    """What is saved loads in float32 all the same: neither part has lost a digit."""
    folder = in_digits_of_bfloat16(model_folder("qwen2_vl"), tmp_path / "published")
    settings = replace(ModelConfig(name=str(folder), dtype="bfloat16"), **{frozen: True})
    loaded = models.load_model(settings, train=True, device="cpu")
    assert dtypes(loaded, part) == {torch.bfloat16} and dtypes(loaded, trained) == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        changed = one_update(loaded, picture())
    assert any(changed[name] for name in changed if f".{trained}." in name)
    loading.save_model(loaded, tmp_path / "saved")
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved")
    assert {weight.dtype for weight in plain.parameters()} == {torch.float32}
    saved, held = plain.state_dict(), loaded.core.state_dict()
    assert all(torch.equal(saved[name], held[name].float()) for name in held)


def test_a_frozen_part_that_would_be_rounded_stays_in_float32(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_language_model=True, dtype="bfloat16")
    assert dtypes(loaded, "language_model") == {torch.float32}
