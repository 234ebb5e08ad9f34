"""A picture's features are made once while the vision tower stays as it is, and never stale."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.folders import FAKES
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from vrft import config, policy
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.models import encoding, vision_features
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import AdapterOff, ModelPolicy
from vrft.processes import distributed
from vrft.training import plan, train
from vrft.training.step import step
from vrft.types import Completion, Prompt, Rollout

Load = Callable[..., LoadedModel]
Draw = Callable[..., Image.Image]

LETTERS = FAKES / "letters_task.py"
SAMPLING = SamplingConfig(max_completion_length=4)
FIXED: list[dict[str, Any]] = [{"freeze_vision_tower": True}, {"lora": LoraConfig(r=4)}]
GROUPS = [
    [Rollout(Completion(""), tokens, True) for tokens in ((5, 6, 7), (8, 9))] for _ in range(4)
]


def prompts(draw: Draw) -> list[Prompt]:
    """Return four prompts with three different pictures; the third has the first one's again."""
    shared = draw(56, 84)
    return [
        Prompt("Where is the key?", (shared,)),
        Prompt("Find the owl in one.", (draw(112, 56, 1), draw(84, 140, 2))),
        Prompt("And the lock?", (shared.copy(),)),
        Prompt("No picture here."),
    ]


@contextmanager
def counted(loaded: LoadedModel) -> Iterator[list[int]]:
    """Count the pictures in each pass through the vision tower while the block runs."""
    seen: list[int] = []

    def count(module: Any, args: Any, options: dict[str, Tensor], out: Any) -> None:
        seen.append(len(options["grid_thw"]))

    tower = loaded.vision_tower
    assert tower is not None
    hook = tower.register_forward_hook(count, with_kwargs=True)
    yield seen
    hook.remove()


def pictures_seen(made: ModelPolicy, draw: Draw) -> list[int]:
    """Count the pictures through the tower in two steps of a rollout and an update each."""
    seen = []
    for _ in range(2):
        with counted(made.loaded) as passes:
            encoded = made.encode(prompts(draw))
            made.sample(encoded, 2, SAMPLING, [0, 1, 2, 3])
        seen.append(sum(passes))
        with counted(made.loaded) as passes:
            made.logps(encoded, GROUPS, 1.0).sum().backward()
        seen.append(sum(passes))
    return seen


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("settings", FIXED, ids=["frozen", "lora"])
def test_a_fixed_tower_sees_each_picture_once(
    family: str, settings: dict[str, Any], load_tiny: Load, picture: Draw
) -> None:
    made = ModelPolicy(load_tiny(family, train=True, **settings))
    assert pictures_seen(made, picture) == [3, 0, 0, 0]


def test_a_tower_in_training_sees_each_picture_once_in_a_rollout_and_once_in_an_update(
    load_tiny: Load, picture: Draw
) -> None:
    made = ModelPolicy(load_tiny("qwen2_vl", train=True))
    assert pictures_seen(made, picture) == [3, 3, 3, 3]


def test_without_memory_a_fixed_tower_sees_each_picture_in_every_pass(
    load_tiny: Load, picture: Draw
) -> None:
    made = ModelPolicy(
        load_tiny("qwen2_vl", train=True, freeze_vision_tower=True, picture_cache_mib=0)
    )
    assert pictures_seen(made, picture) == [3, 3, 3, 3]


def test_the_model_below_an_adapter_needs_no_features_of_its_own(
    load_tiny: Load, picture: Draw
) -> None:
    made = ModelPolicy(load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4)))
    encoded = made.encode(prompts(picture))
    made.logps(encoded, GROUPS, 1.0)
    with counted(made.loaded) as passes:
        AdapterOff(made).logps(encoded, GROUPS, 1.0)
    assert passes == []


def test_a_run_with_a_frozen_tower_sees_its_pictures_in_the_first_epoch_only(
    model_folder: Callable[[str], Path],
) -> None:
    settings = config.load(
        None,
        [
            f"task={LETTERS}",
            f"model={model_folder('qwen2_vl')}",
            "model.freeze_vision_tower=true",
            "algorithm=grpo",  # its reference model has a tower of its own
            "algorithm.num_generations=2",
            "sampling.max_completion_length=4",
            "train.per_device_train_batch_size=12",  # all 12 samples in every step
            "train.max_steps=2",
        ],
    )
    run = train.prepare(settings, *plan.check(settings), distributed.accelerator(settings.model))
    made, reference = run.policy, run.reference
    assert isinstance(made, ModelPolicy) and isinstance(reference, ModelPolicy)
    seen = []
    for _ in range(2):
        with counted(made.loaded) as own, counted(reference.loaded) as others:
            step(run)
        seen.append((sum(own), sum(others)))
    assert seen == [(12, 12), (0, 0)]


def test_a_run_that_remembers_features_resumes_to_the_same_bits(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = [
        f"task={LETTERS}",
        f"model={model_folder('qwen2_vl')}",
        "model.freeze_vision_tower=true",
        "algorithm.num_generations=4",
        "sampling.max_completion_length=6",
        "train.per_device_train_batch_size=5",  # 12 samples: after step 3 some are remembered
        "train.max_steps=4",
        "train.save_steps=2",
        "train.learning_rate=1e-3",
    ]
    whole = train.train(config.load(None, [*settings, f"train.output_dir={tmp_path / 'whole'}"]))
    shutil.copytree(whole, tmp_path / "half")
    for later in ("checkpoint-4", "final"):
        shutil.rmtree(tmp_path / "half" / later)
    again = config.load(str(whole / "config.yaml"), [f"train.output_dir={tmp_path / 'half'}"])
    half = train.train(again, resume=tmp_path / "half")
    ends = [load_file(run / "final" / "model.safetensors") for run in (whole, half)]
    start = load_file(whole / "checkpoint-2" / "model.safetensors")
    assert any(not ends[0][name].equal(start[name]) for name in start)
    assert all(ends[0][name].equal(ends[1][name]) for name in start)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_remembered_features_change_neither_values_nor_gradients(
    family: str, load_tiny: Load, picture: Draw
) -> None:
    def measure(made: ModelPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        logps = made.logps(made.encode(prompts(picture)), GROUPS, 1.0)
        made.module.zero_grad()
        (logps * torch.linspace(-1, 1, logps.numel()).view_as(logps)).sum().backward()
        named = made.loaded.language_model.named_parameters()
        return logps.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}

    fixed = ModelPolicy(load_tiny(family, train=True, freeze_vision_tower=True))
    measure(fixed)
    with counted(fixed.loaded) as passes:
        logps, gradients = measure(fixed)
    assert passes == []
    forgetful = load_tiny(family, train=True, freeze_vision_tower=True, picture_cache_mib=0)
    same_logps, same = measure(ModelPolicy(forgetful))
    assert torch.equal(logps, same_logps)
    assert all(torch.equal(gradients[name], same[name]) for name in same)
    # A tower in training takes all pictures in one pass, with gradients: equal but for rounding.
    other_logps, others = measure(ModelPolicy(load_tiny(family, train=True)))
    assert torch.allclose(logps, other_logps, atol=1e-6)
    assert gradients.keys() == others.keys() and others
    # float32 keeps 24 bits, 6e-8 of a value; a gradient sums up some hundred of them
    for name, other in others.items():
        assert (gradients[name] - other).norm() < 3e-6 * other.norm(), name


def test_features_have_the_same_bits_whatever_else_is_encoded(
    load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    pictures = [one for each in prompts(picture) for one in encoding.encode(loaded, each).pictures]
    tower: Any = loaded.vision_tower
    together = vision_features.FeatureCache(2**20).encode(tower, pictures, loaded.encode_pictures)
    alone = [
        vision_features.FeatureCache(2**20).encode(tower, [one], loaded.encode_pictures)[0]
        for one in pictures
    ]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def embedded(loaded: LoadedModel, prompt: Prompt) -> Tensor:
    encoded = encoding.encode(loaded, prompt)
    with torch.no_grad():
        return loaded.embed(encoded.tokens.unsqueeze(0), encoded.pictures)[0]


def shift(loaded: LoadedModel) -> None:
    """Add to the bias of the tower's last layer, and so to each feature, 1."""
    tower: Any = loaded.vision_tower
    with torch.no_grad():
        tower.merger.mlp[-1].bias += 1


def test_weights_that_are_changed_in_place_make_new_features(
    load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    prompt = Prompt("Where?", (picture(),))
    before = embedded(loaded, prompt)
    shift(loaded)
    moved = embedded(loaded, prompt) - before
    assert moved[0].mean(-1).round(decimals=4).unique().tolist() == [0, 1]  # words, pictures
    tower: Any = loaded.vision_tower
    # loading the old weights back is a change too: the address is the same, the count is not
    tower.load_state_dict(load_tiny("qwen2_vl").vision_tower.state_dict())  # type: ignore[union-attr]
    assert torch.equal(embedded(loaded, prompt), before)


def test_a_tower_that_is_trained_for_a_while_is_not_served_from_before(
    load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    prompt = Prompt("Where?", (picture(),))
    before = embedded(loaded, prompt)
    tower: Any = loaded.vision_tower
    tower.requires_grad_(True)
    encoded = encoding.encode(loaded, prompt)
    loaded.embed(encoded.tokens.unsqueeze(0), encoded.pictures)[0].square().sum().backward()
    torch.optim.SGD(tower.parameters(), lr=0.1).step()  # changes every weight in its place
    trained = embedded(loaded, prompt)
    tower.requires_grad_(False)
    assert not torch.allclose(trained, before, atol=1e-4)
    assert torch.allclose(embedded(loaded, prompt), trained, atol=1e-6)


def test_another_precision_is_another_state(load_tiny: Load) -> None:
    tower: Any = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True).vision_tower
    states = {vision_features.tower_state(tower) for _ in range(2)}
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            states.add(vision_features.tower_state(tower))
    assert len(states) == 3


def test_the_bound_is_kept_and_what_was_dropped_is_made_again(
    load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    tower: Any = loaded.vision_tower
    one, two, three = (
        encoding.encode(loaded, Prompt("?", (picture(seed=seed),))).pictures[0] for seed in range(3)
    )
    # room for two pictures of three
    (made,) = vision_features.FeatureCache(0).encode(tower, [one], loaded.encode_pictures)
    held = vision_features.FeatureCache(2 * made.nbytes)
    with counted(loaded) as passes:
        for wanted in ([one], [two], [three], [three, two], [one]):
            held.encode(tower, wanted, loaded.encode_pictures)
            assert held.recent.bytes <= 2 * made.nbytes
    assert passes == [1, 1, 1, 1]  # the last is the first picture again


def test_the_levels_of_deepstack_are_held_and_counted_with_the_features(
    load_tiny: Load, picture: Draw
) -> None:
    loaded = load_tiny("qwen3_vl", train=True, freeze_vision_tower=True)
    encoded = encoding.encode(loaded, Prompt("Where?", (picture(64, 96),)))
    with counted(loaded) as passes:
        _, made = loaded.embed(encoded.tokens, encoded.pictures)
        _, held = loaded.embed(encoded.tokens, encoded.pictures)
    assert passes == [1] and made is not None and held is not None
    assert all(torch.equal(a, b) for a, b in zip(made.levels, held.levels, strict=True))
    # 2 x 3 image tokens of 128 numbers for the input and for each of two levels, in float32
    assert loaded.feature_cache.recent.bytes == 2 * 3 * 128 * 4 * (1 + 2)
    # A level has weights of its own, whose change is noticed as that of any other.
    tower: Any = loaded.vision_tower
    with torch.no_grad():
        tower.deepstack_merger_list[1].linear_fc2.bias += 1
    _, moved = loaded.embed(encoded.tokens, encoded.pictures)
    assert moved is not None
    assert torch.equal(moved.levels[0], made.levels[0])
    assert torch.allclose(moved.levels[1], made.levels[1] + 1, atol=1e-5)


def test_the_levels_of_deepstack_are_for_the_image_tokens_of_prompts_alone() -> None:
    places = torch.tensor([False, True, True])
    levels = (torch.zeros(2, 4), torch.ones(2, 4))
    row = vision_features.DeepStack(places, levels).arguments(5)  # with two tokens of completions
    assert row["visual_pos_masks"].tolist() == [[False, True, True, False, False]]
    assert row["deepstack_visual_embeds"] == [*levels]
    batch = vision_features.DeepStack(places.expand(2, 3), levels).arguments(3)
    assert batch["visual_pos_masks"].tolist() == [places.tolist()] * 2


def test_a_tower_whose_weights_are_sharded_is_run_by_all_devices(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    tower: Any = loaded.vision_tower
    assert vision_features.is_fixed(tower)
    next(tower.parameters()).ds_id = 0  # as DeepSpeed's ZeRO-3 marks its parts
    assert not vision_features.is_fixed(tower)


def test_where_torch_counts_no_changes_features_are_the_same_and_never_remembered(
    load_tiny: Load, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen2_vl", train=True, freeze_vision_tower=True)
    prompt = Prompt("Where?", (picture(),))
    before = embedded(loaded, prompt)
    monkeypatch.setattr(vision_features, "CHANGE_COUNTER", "_gone")
    with counted(loaded) as passes:
        assert torch.allclose(embedded(loaded, prompt), before, atol=1e-6)
        embedded(loaded, prompt)
    assert passes == [1, 1]


def test_a_policy_that_is_not_trained_is_fixed(model_folder: Callable[[str], Path]) -> None:
    made = policy.load(ModelConfig(str(model_folder("qwen2_vl"))), device="cpu")
    assert not any(weight.requires_grad for weight in made.module.parameters())
