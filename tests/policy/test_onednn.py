"""Weights in oneDNN's layout: the same numbers, for a while, where it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from PIL import Image
from torch import nn

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig
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


def test_double_precision_stays_as_it_is(wide: nn.Sequential) -> None:
    # oneDNN has no products in it
    with onednn.prepacked(wide.double()):
        assert not any(replaced(wide))


@pytest.fixture
def large(wide: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> nn.Sequential:
    """Make a model that is too large to be copied: the two layers that gain have 2**19 weights."""
    monkeypatch.setattr(onednn, "MAX_MODEL", 2**19 - 1)
    monkeypatch.setattr(onednn, "REORDER", "_gone")  # by which alone a weight is copied
    return wide


PRECISIONS = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not onednn.supports(torch.bfloat16), reason="the processor has no such products"
        ),
    ),
]


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("rows", [0, 1, 4, 5, 24, 48, 49, 300])
@torch.no_grad()
def test_a_large_model_is_read_where_it_lies(
    large: nn.Sequential, rows: int, dtype: torch.dtype
) -> None:
    large.to(dtype)
    hidden = torch.randn(rows, 2, WIDE, dtype=dtype).transpose(0, 1)  # twice as many rows
    expected = large(hidden)
    with onednn.prepacked(large):
        assert replaced(large) == [True, True, False]
        out = large(hidden)
    # outputs are about 0.3, where bfloat16 numbers lie 2**-9 apart
    tolerance = {} if dtype == torch.float32 else {"atol": 2**-8, "rtol": 0}
    torch.testing.assert_close(out, expected, **tolerance)
    assert replaced(large) == [False] * 3


@torch.no_grad()
def test_what_autocast_converts_is_not_read_where_it_lies(large: nn.Sequential) -> None:
    with torch.autocast("cpu", torch.bfloat16), onednn.prepacked(large):
        assert not any(replaced(large))


def attention(bias: tuple[bool, bool, bool], width: int = WIDE) -> nn.ModuleList:
    """Make q, k and v of two small key heads: k and v alone would not gain."""
    sizes = (width, width // 8, width // 8)
    return nn.ModuleList(
        nn.Linear(width, size, bias=biased) for size, biased in zip(sizes, bias, strict=True)
    )


@pytest.mark.parametrize("bias", [(True,) * 3, (False,) * 3, (True, False, True)])
@torch.no_grad()
def test_parts_joined_give_their_outputs_side_by_side(bias: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    parts = attention(bias)
    hidden = torch.randn(5, 3, WIDE)
    expected = torch.cat([part(hidden) for part in parts], dim=-1)
    with onednn.prepacked(parts) as products:
        joined = products.joined(*parts)
        assert joined.func is onednn.linear  # type: ignore[attr-defined]
        torch.testing.assert_close(joined(hidden), expected)


@pytest.mark.parametrize("why", ["small", "hook", "function of its own", "LoRA's", "large model"])
@torch.no_grad()
def test_parts_that_are_not_joined_compute_by_themselves(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    # 2**14 weights are below MIN_LAYER, as are those of the demo's models
    parts = attention((True, True, True), 128 if why == "small" else WIDE)
    if why == "hook":
        parts[1].register_forward_hook(lambda module, args, out: out + 1)
    elif why == "function of its own":
        parts[1].forward = lambda hidden: hidden[..., :64] + 1
    elif why == "LoRA's":
        parts[1] = nn.Sequential(parts[1])
    elif why == "large model":
        monkeypatch.setattr(onednn, "MAX_MODEL", 2**18 - 1)
    with onednn.prepacked(parts) as products:
        hidden = torch.randn(5, 3, parts[0].in_features)
        expected = torch.cat([part(hidden) for part in parts], dim=-1)
        joined = products.joined(*parts)
        assert not products.joins(*parts)
        assert torch.equal(joined(hidden), expected)


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
