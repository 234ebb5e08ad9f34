"""Weights in oneDNN's layout: the same numbers, for a while, where it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from PIL import Image
from torch import nn

from vrft.config.schema import LoraConfig, SamplingConfig
from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.policy import decode_step, onednn
from vrft.policy.sampling import sample
from vrft.types import Prompt

WIDE = 512
"""A square layer of this width has 2**18 weights: enough to gain."""

pytestmark = pytest.mark.skipif(
    not onednn.supports(torch.float32), reason="needs oneDNN on an x86 processor"
)


@pytest.fixture
def wide() -> nn.Sequential:
    """Make two layers that gain, one of them without a bias, and a small one."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(WIDE, WIDE), nn.GELU(), nn.Linear(WIDE, WIDE, bias=False), nn.Linear(WIDE, 8)
    )


def replaced(model: nn.Module) -> list[bool]:
    """Tell of each linear layer whether it computes in another way."""
    return ["forward" in vars(one) for one in model.modules() if isinstance(one, nn.Linear)]


@pytest.mark.parametrize("rows", [0, 1, 16, 300])
@torch.no_grad()
def test_the_numbers_are_the_same(wide: nn.Sequential, rows: int) -> None:
    # neither two axes nor contiguous, as hidden states may be
    hidden = torch.randn(rows, 2, WIDE).transpose(0, 1)
    expected = wide(hidden)
    with onednn.prepacked(wide):
        assert replaced(wide) == [True, True, False]
        torch.testing.assert_close(wide(hidden), expected)
    assert replaced(wide) == [False] * 3


@torch.no_grad()
def test_a_changed_weight_counts_the_next_time(wide: nn.Sequential) -> None:
    hidden = torch.randn(3, WIDE)
    with onednn.prepacked(wide):
        before = wide(hidden)
    wide[0].weight.mul_(2)  # as an update does between two rollouts
    with onednn.prepacked(wide):
        after = wide(hidden)
    torch.testing.assert_close(after, wide(hidden))
    assert not torch.allclose(after, before)


@pytest.mark.skipif(not onednn.supports(torch.bfloat16), reason="needs AVX-512")
@torch.no_grad()
def test_autocast_is_followed(wide: nn.Sequential) -> None:
    hidden = torch.randn(5, WIDE)
    with torch.autocast("cpu", torch.bfloat16):
        expected = wide(hidden)
        with onednn.prepacked(wide):
            assert replaced(wide) == [True, True, False]
            packed = wide(hidden)
    assert packed.dtype == torch.bfloat16
    torch.testing.assert_close(packed, expected)


def test_an_error_leaves_the_layers_as_they_were(wide: nn.Sequential) -> None:
    with pytest.raises(ZeroDivisionError), onednn.prepacked(wide):
        raise ZeroDivisionError
    assert replaced(wide) == [False] * 3


def test_what_a_hook_put_in_the_place_of_forward_stays(wide: nn.Sequential) -> None:
    # accelerate's hooks put functions there
    wide[0].forward = hooked = torch.zeros_like  # type: ignore[method-assign, assignment]
    with onednn.prepacked(wide):
        assert replaced(wide) == [True, True, False]
        assert wide[0].forward is hooked
    assert wide[0].forward is hooked


def test_a_large_model_and_other_precisions_stay_as_they_are(
    wide: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    # oneDNN has no products in double precision
    with onednn.prepacked(wide.double()):
        assert not any(replaced(wide))
    monkeypatch.setattr(onednn, "MAX_MODEL", 2**18)  # the two layers that gain have 2**19
    with onednn.prepacked(wide.float()):
        assert not any(replaced(wide))


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(r=4)], ids=["all weights", "LoRA"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_no_token_changes(
    family: str,
    lora: LoraConfig,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_tiny(family, train=True, lora=lora)
    images = (picture(56, 84),) if loaded.family.has_vision else ()
    prompts = [encoding.encode(loaded, Prompt("Where is the key?", images))]
    sampling = SamplingConfig(max_completion_length=20)
    expected = sample(loaded, prompts, 8, sampling, [3])
    monkeypatch.setattr(onednn, "MIN_LAYER", 1)  # the tiny model's layers are all small
    with onednn.prepacked(loaded.model):
        assert sum(replaced(loaded.model)) > 10
    assert sample(loaded, prompts, 8, sampling, [3]) == expected


def test_sharded_weights_stay_as_they_are(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2")
    assert decode_step.strategy_for(loaded, graphs=True).prepare is onednn.prepacked
    next(loaded.model.parameters()).ds_id = 0  # type: ignore[attr-defined]
    assert decode_step.strategy_for(loaded, graphs=True).prepare is not onednn.prepacked


@pytest.fixture
def no_memory_of_probes() -> Iterator[None]:
    """Let operators be tried anew within the test, and again after it."""
    onednn.supports.cache_clear()
    yield
    onednn.supports.cache_clear()


@pytest.mark.usefixtures("no_memory_of_probes")
@pytest.mark.parametrize("name", ["REORDER", "LINEAR"])
@torch.no_grad()
def test_a_torch_without_an_operator_leaves_all_layers_as_they_are(
    name: str, wide: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = torch.randn(3, WIDE)
    expected = wide(hidden)
    monkeypatch.setattr(onednn, name, "_gone")
    with onednn.prepacked(wide):
        assert not any(replaced(wide))
        assert torch.equal(wide(hidden), expected)


@pytest.mark.usefixtures("no_memory_of_probes")
def test_an_operator_of_another_signature_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "LINEAR", "_is_mkldnn_bf16_supported")  # takes nothing
    assert not onednn.supports(torch.float32)
