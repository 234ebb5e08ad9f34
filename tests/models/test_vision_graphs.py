"""A step's update takes the vision passes of its rollout, and has the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from PIL import Image
from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.models import encoding, vision_graphs
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy
from vrft.types import Completion, Prompt, Rollout

Load = Callable[..., LoadedModel]
Draw = Callable[..., Image.Image]

SAMPLING = SamplingConfig(max_completion_length=3)
GROUP = [Rollout(Completion(""), tokens, True) for tokens in ((5, 6, 7), (8, 9))]
VISION = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"]


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep also the passes of tiny towers."""
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 0)


@contextmanager
def passes(loaded: LoadedModel) -> Iterator[list[int]]:
    """Note the patches of each pass through the vision tower while the block runs."""
    tower, seen = loaded.vision_tower, list[int]()
    assert tower is not None
    hook = tower.register_forward_hook(lambda _, args, out: seen.append(1))
    try:
        yield seen
    finally:
        hook.remove()


def prompts(loaded: LoadedModel, picture: Draw) -> list[Encoded]:
    return [
        encoding.encode(loaded, Prompt("Where is the key?", (picture(56, 84),))),
        encoding.encode(loaded, Prompt("Find it.", (picture(112, 56, 1), picture(84, 140, 2)))),
    ]


def gradient(policy: ModelPolicy, encoded: list[Encoded]) -> Tensor:
    """Return the gradient of an update in micro-batches of one group."""
    policy.loaded.model.zero_grad()
    for prompt in encoded:
        policy.logps([prompt], [GROUP], 1.0).sum().backward()
    weights = policy.loaded.model.parameters()
    return torch.cat([w.grad.flatten() for w in weights if w.grad is not None])


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", VISION)
def test_an_update_has_the_gradients_of_passes_of_its_own(
    family: str, checkpointing: bool, load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny(family, train=True, gradient_checkpointing=checkpointing)
    policy, encoded = ModelPolicy(loaded), prompts(loaded, picture)
    sampled = policy.sample(encoded, 2, SAMPLING, [1, 2])
    expected = gradient(policy, encoded)
    graphs = loaded.feature_cache.graphs
    with graphs.open(), passes(loaded) as seen:
        again = policy.sample(encoded, 2, SAMPLING, [1, 2])
        assert len(seen) == 3  # a pass for each picture
        assert len(graphs.kept) == 3
        assert loaded.model.training
        kept = gradient(policy, encoded)
        assert len(seen) == 3
    assert [[r.tokens for r in group] for group in again] == [
        [r.tokens for r in group] for group in sampled
    ]
    assert relative(kept, expected) < 2e-6
    assert not graphs.kept
    assert graphs.held == 0


def test_features_of_other_weights_are_not_taken(load_tiny: Load, picture: Draw) -> None:
    loaded = load_tiny("qwen2_vl", train=True)
    policy, encoded = ModelPolicy(loaded), prompts(loaded, picture)
    with loaded.feature_cache.graphs.open(), passes(loaded) as seen:
        policy.sample(encoded, 2, SAMPLING, [1, 2])
        with torch.no_grad():
            for weight in loaded.model.parameters():
                weight.mul_(1.01)
        del seen[:]
        moved = gradient(policy, encoded)
        assert len(seen) == 2  # one for each micro-batch
    assert torch.equal(moved, gradient(policy, encoded))


def test_passes_beyond_the_limit_are_the_update_s_own(load_tiny: Load, picture: Draw) -> None:
    loaded = load_tiny("qwen2_vl", train=True)
    policy, encoded = ModelPolicy(loaded), prompts(loaded, picture)
    graphs = loaded.feature_cache.graphs
    with graphs.open():
        policy.sample(encoded, 2, SAMPLING, [1, 2])
        sizes = sorted(graphs.sizes.values())
    # room for the first of three pictures alone, each of which was measured
    graphs.limit = graphs.sizes[encoded[0].pictures[0].patches.shape[0]]
    assert graphs.limit == sizes[0] > 0
    with graphs.open(), passes(loaded) as seen:
        policy.sample(encoded, 2, SAMPLING, [1, 2])
        assert len(seen) == 2  # the kept picture's, and that of the two others together
        assert len(graphs.kept) == 1
        limited = gradient(policy, encoded)
    assert relative(limited, gradient(policy, encoded)) < 2e-6


def test_an_unknown_size_is_decided_as_a_known_one(load_tiny: Load, picture: Draw) -> None:
    loaded = load_tiny("qwen2_vl", train=True)
    policy, encoded = ModelPolicy(loaded), prompts(loaded, picture)
    graphs = loaded.feature_cache.graphs
    graphs.limit = 1
    for _ in range(2):
        with graphs.open():
            policy.sample(encoded, 2, SAMPLING, [1, 2])
            assert not graphs.kept


@pytest.mark.parametrize("settings", [{"freeze_vision_tower": True}, {"vision_graph_mib": 0}])
def test_a_frozen_tower_and_a_limit_of_zero_keep_nothing(
    settings: dict[str, bool | int], load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, **settings)
    with loaded.feature_cache.graphs.open():
        ModelPolicy(loaded).sample(prompts(loaded, picture), 2, SAMPLING, [1, 2])
        assert not loaded.feature_cache.graphs.kept


def test_a_rollout_in_half_precision_leaves_the_tower_its_gradients(
    load_tiny: Load, picture: Draw
) -> None:
    """Autocast would use the weights again that it converted without gradients."""
    loaded = load_tiny("qwen2_vl", train=True)
    policy, encoded = ModelPolicy(loaded), prompts(loaded, picture)
    found = []
    for opened in (loaded.feature_cache.graphs.open(), nullcontext()):
        with torch.autocast("cpu", torch.bfloat16), opened:
            policy.sample(encoded, 2, SAMPLING, [1, 2])
            found.append(gradient(policy, encoded))
    assert relative(*found) < 0.02
    assert float(found[0].norm()) > 0.1
