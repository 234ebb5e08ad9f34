"""A token through the layers in few operations against transformers' own forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vrft.config.schema import LoraConfig
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.models.token_pass import fits
from vrft.policy import onednn
from vrft.policy.decode_step import STRATEGIES, DecodeStrategy, Decoding
from vrft.types import Prompt

COMPUTED = [name for name, family in FAMILIES.items() if family.decoder_layer]
GENERATIONS, TOKENS = 3, 12

LAYERS = replace(STRATEGIES["cpu"], fused=False, cache_block=4)
"""The plain step: transformers' layers. Room grows every four tokens, and rotary tables with it."""

JOINED = replace(LAYERS, fused=True)
SEPARATE = replace(JOINED, join=False)


def disturbed(loaded: LoadedModel) -> LoadedModel:
    """Return a model of which no norm is 1 and no bias 0, as a new one's are."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in loaded.language_model.parameters():
            if weight.dim() == 1:
                weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return loaded


def logits(
    loaded: LoadedModel, picture: Callable[..., Image.Image], strategy: DecodeStrategy
) -> list[Tensor]:
    """Return the logits of each step of decoding ragged prompts, of which some rows leave."""
    prompts = [Prompt("Where is the key?"), Prompt("Find the owl, or the cat, in this.")]
    if loaded.family.has_vision:
        prompts[1] = replace(prompts[1], images=(picture(56, 84),))
    encoded = [encoding.encode(loaded, prompt) for prompt in prompts]
    generator = torch.Generator().manual_seed(1)
    given = torch.randint(5, 200, (TOKENS, 2 * GENERATIONS), generator=generator)
    # a row of the first prompt, then its last rows, so that the second prompt remains alone
    leaving = {3: [1, 2, 3, 4, 5], 7: [2, 3, 4]}
    made = []
    with torch.no_grad(), strategy.prepare(loaded.model) as products:
        batch = encoding.collate(encoded, loaded.device)
        decoding = Decoding(loaded, batch, GENERATIONS, strategy, products)
        assert (decoding.token_pass is not None) == strategy.fused
        for step, tokens in enumerate(given):
            if step in leaving:
                decoding.keep(torch.tensor(leaving[step]))
            decoding.advance(tokens[decoding.active])
            made.append(decoding.logits)
    assert [len(rows) for rows in made] == [6] * 3 + [5] * 4 + [3] * 5
    return made


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(r=4)], ids=["all weights", "LoRA"])
@pytest.mark.parametrize("family", COMPUTED)
def test_its_logits_are_those_of_the_familys_own_layers(
    family: str,
    lora: LoraConfig,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onednn, "MIN_LAYER", 1)  # the tiny model's layers are all small
    loaded = disturbed(load_tiny(family, train=True, lora=lora))
    loaded.model.eval()
    if lora.r:  # B is zero in a new adapter, which would then add nothing
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(2))
    expected = logits(loaded, picture, LAYERS)
    assert max(float(rows.abs().max()) for rows in expected) > 0.1
    for strategy in (SEPARATE, JOINED):
        for rows, plain in zip(logits(loaded, picture, strategy), expected, strict=True):
            torch.testing.assert_close(rows, plain, rtol=1e-5, atol=1e-5)


def test_small_layers_give_the_same_bits(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    """Models whose products torch computes, as the demo's, sample the same tokens either way."""
    loaded = disturbed(load_tiny("qwen2_vl"))
    expected = logits(loaded, picture, LAYERS)
    for rows, plain in zip(logits(loaded, picture, JOINED), expected, strict=True):
        assert torch.equal(rows, plain)


@pytest.mark.parametrize(("least", "fixed"), [(onednn.MIN_LAYER, True), (1, False)])
def test_attention_of_a_small_model_reads_all_room_and_that_of_a_large_one_no_more_than_tokens(
    least: int, fixed: bool, load_tiny: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "MIN_LAYER", least)
    loaded = load_tiny("qwen2")
    batch = encoding.collate([encoding.encode(loaded, Prompt("Where?"))], loaded.device)
    with torch.no_grad():
        assert Decoding(loaded, batch, 2, JOINED).cache.fixed_room == fixed


def test_a_model_fits_as_long_as_its_layers_do_what_their_classes_say(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2")
    layer = loaded.language_model.layers[0]
    assert fits(loaded)
    for module in (layer, layer.self_attn, layer.mlp, layer.input_layernorm, loaded.language_model):
        hook = module.register_forward_hook(lambda *_: None)
        assert not fits(loaded)
        hook.remove()
        module.forward = module.forward
        assert not fits(loaded)
        del module.forward
    assert fits(loaded)
    # any module may stand where a layer's linear ones do
    layer.mlp.down_proj.register_forward_hook(lambda *_: None)
    assert fits(loaded)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fits(loaded)
    loaded.language_model.rotary_emb.rope_type = "dynamic"  # its table would change by its length
    assert not fits(loaded)


@pytest.mark.parametrize("name", ["qwen3_5_text", "qwen3_vl_moe"])
def test_other_layers_do_not_fit(name: str, load_tiny: Callable[..., LoadedModel]) -> None:
    assert not fits(load_tiny(name))


def test_half_precision_and_other_devices_do_not_fit(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen3")
    assert fits(loaded)
    loaded.model.to(torch.bfloat16)
    assert not fits(loaded)
    loaded.model.to("meta").float()
    assert not fits(loaded)
