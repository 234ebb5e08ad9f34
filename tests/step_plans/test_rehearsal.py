"""A rehearsed step beside the real one: its peak memory, and its operations by torch's counter."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vrft import models
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.demo import tiny, tiny_configs
from vrft.demo.course import Size
from vrft.models import vision_graphs
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import PatchedPicture
from vrft.policy import onednn, sampling
from vrft.policy.logprobs import GroupLogps
from vrft.step_plans import budget, rehearsal, shape
from vrft.step_plans.budget import Devices
from vrft.step_plans.rehearsal import Load, PromptShape, rehearse
from vrft.step_plans.shape import Shape

SIZE = Size(128, 384, 3, 4, 2, 96, 3, 3)
"""Some millions of parameters in float32, and activations of some MB beside them."""

WIDE = Size(1024, 3072, 4, 32, 4, 512, 4, 8)
"""Wide enough that attention, which is causal in a rehearsal alone, is a small part of the work."""


SQUARE = Size(384, 128, 6, 12, 12, 96, 3, 3)
"""As many key heads as heads."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of a family at SIZE."""
    made: dict[str, Path] = {}

    def of(family: Any) -> Path:
        if family not in made:
            made[family] = tiny.write(tmp_path_factory.mktemp("models") / family, family, SIZE)
        return made[family]

    return of


def real(encoded: Any) -> Any:
    """Return a prompt with patches that have numbers."""
    pictures = tuple(
        PatchedPicture(picture.key, torch.zeros(picture.patches.shape), picture.grid)
        for picture in encoded.pictures
    )
    return replace(encoded, pictures=pictures)


def scales(weight: Any) -> list[Tensor]:
    """Return the tensors that a weight of four bits has beside it."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return []
    return [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]


def measured(loaded: LoadedModel, load: Load) -> float:
    """Take two steps, return the most bytes of the second by torch's account of its allocator.

    Vision passes of the rollout are kept for the update where the model has room for them.
    """
    shapes = enumerate(load.prompts)
    prompts = [real(rehearsal.encode(loaded, prompt, f"{i}")) for i, prompt in shapes]
    trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    loaded.end_ids = frozenset()  # all completions go on to the limit, as in a plan
    settings = SamplingConfig(max_completion_length=load.length)
    module = GroupLogps(loaded)

    def step() -> None:
        with loaded.feature_cache.graphs.open():
            loaded.model.eval()
            sampling.sample(loaded, prompts, load.generations, settings, [0] * len(prompts))
            loaded.model.train()
            for first in range(0, len(prompts), load.batch):
                part = prompts[first : first + load.batch]
                rows = [[[1] * load.length] * load.generations for _ in part]
                module(part, rows).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    states = [value for state in optimizer.state.values() for value in state.values()]
    held = [*loaded.model.parameters(), *loaded.model.buffers()]
    held += [value for value in states if isinstance(value, Tensor)]
    held += [t for p in loaded.model.parameters() for t in scales(p)]
    before = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in held}.values())
    most = most_of(step)
    assert most > 2e6
    return before + most


def most_of(call: Callable[[], object]) -> int:
    """Return the most bytes that a call holds at a time by torch's account of its allocator."""
    gc.collect()  # or what an earlier case has left is given back while this one is measured
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


LORA = LoraConfig(r=8)
CASES = {
    "qwen2_vl": ("qwen2_vl", {}, 4, 1),
    "qwen2_5_vl, checkpointing": ("qwen2_5_vl", {"gradient_checkpointing": True}, 8, 1),
    "qwen3_vl": ("qwen3_vl", {}, 2, 1),
    "qwen3_vl, frozen tower": ("qwen3_vl", {"freeze_vision_tower": True}, 8, 1),
    "qwen3_5": ("qwen3_5", {}, 2, 1),
    "qwen2_vl, LoRA": ("qwen2_vl", {"lora": LORA}, 8, 1),
    "qwen3_vl, LoRA, checkpointing": (
        "qwen3_vl", {"lora": LORA, "gradient_checkpointing": True}, 8, 1,
    ),
    "qwen2, two passes": ("qwen2", {}, 8, 2),
    "qwen3_vl with experts": ("qwen3_vl_moe", {}, 2, 1),
    "qwen3_5 with experts, LoRA": ("qwen3_5_moe", {"lora": LORA}, 8, 1),
    "qwen2_vl, four bits": ("qwen2_vl", {"lora": LORA, "quantization": "nf4"}, 8, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_predicted_peak_is_the_measured_one(case: str, folder: Callable[[Any], Path]) -> None:
    family, settings, generations, prompts = CASES[case]
    if "quantization" in settings:
        pytest.importorskip("bitsandbytes")
    name = str(folder(family))
    config = ModelConfig(name=name, **settings)  # type: ignore[arg-type]
    model = shape.read(name)
    side = model.factor * 10 if model.vision else 0  # 100 image tokens
    prompt = PromptShape(40, ((side, side),) if side else ())
    load = Load((prompt,) * prompts, 1, generations, 40)
    planned = shape.build(model, config, torch.float32)
    account = rehearse(planned, load, SamplingConfig(), "cpu", keeps_vision=True)
    constant = budget.states(planned.model.parameters(), Devices())
    predicted = budget.budget(account, constant, Devices()).peak
    most = measured(models.load_model(config, train=True, device="cpu"), load)
    assert abs(predicted / most - 1) < 0.15, (predicted, most)
    # Were activations nothing, the weights and their states would be close enough by themselves.
    assert (constant.weights + constant.optimizer + constant.gradients) / most < 0.8


@pytest.mark.parametrize(("family", "batch"), [("qwen2_vl", 1), ("qwen2_5_vl", 2)])
def test_vision_passes_that_a_step_keeps_are_in_its_peak(
    family: Any, batch: int, folder: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 0)
    config = ModelConfig(name=str(folder(family)))
    side = shape.read(config.name).factor * 8
    load = Load((PromptShape(10, ((side, side),)),) * 4, batch, 2, 10)
    planned = shape.build(shape.read(config.name), config, torch.float32)
    account = rehearse(planned, load, SamplingConfig(), "cpu", keeps_vision=True)
    constant = budget.states(planned.model.parameters(), Devices())
    predicted = budget.budget(account, constant, Devices())
    most = measured(models.load_model(config, train=True, device="cpu"), load)
    assert abs(predicted.peak / most - 1) < 0.05, (predicted.peak, most)
    # Were they not counted, the prediction would be off by more than that.
    assert predicted.update[budget.NAMES["kept"]] > 0.1 * most


@pytest.mark.skipif(not onednn.supports(torch.float32), reason="needs oneDNN on an x86 processor")
def test_copies_of_weights_that_a_rollout_makes_are_in_its_peak(tmp_path: Path) -> None:
    # Queries, keys, values and outputs of 147,456 weights each are laid out, and the first three
    # joined besides; those of the MLP are too small for either.
    config = ModelConfig(name=str(tiny.write(tmp_path / "m", "qwen2", SQUARE)))
    load = Load((PromptShape(20),), 1, 2, 10)
    planned = shape.build(shape.read(config.name), config, torch.float32)
    account = rehearse(planned, load, SamplingConfig(), "cpu")
    weights = budget.States(budget.states(planned.model.parameters(), Devices()).weights, 0, 0)
    predicted = budget.budget(account, weights, Devices()).rollout
    loaded = models.load_model(config, train=True, device="cpu")
    prompt = real(rehearsal.encode(loaded, load.prompts[0], "0"))
    loaded.end_ids = frozenset()
    settings = SamplingConfig(max_completion_length=load.length)
    most = most_of(lambda: sampling.sample(loaded, [prompt], 2, settings, [0]))
    assert sum(predicted.values()) == pytest.approx(weights.weights + most, rel=0.05)
    head = loaded.head.weight.numel()
    square = SQUARE.num_hidden_layers * SQUARE.hidden_size**2
    copied = 4 * (7 * square + (head if head >= onednn.MIN_LAYER else 0))
    assert predicted[budget.NAMES["copies"]] == copied > 0.4 * sum(predicted.values())
    # and the joined ones alone are more than the prediction may be off
    assert 4 * 3 * square > 0.1 * sum(predicted.values())


@pytest.mark.parametrize(
    "family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "qwen2", "qwen3"]
)
def test_operations_are_those_that_torch_counts_in_the_plain_forward(family: Any) -> None:
    config = tiny_configs.configuration(family, WIDE, tiny.tokenizer(family=family))
    model = Shape(family, config, FAMILIES[family], "a test")
    loaded = shape.build(model, ModelConfig(), torch.float32)
    side = model.factor if model.vision else 0
    prompt = PromptShape(30, ((side * 6, side * 4),) if side else ())
    load = Load((prompt,), 1, 1, 16)
    account = rehearse(loaded, load, SamplingConfig(), "cpu")
    counted = sum(
        work.flops
        for place, works in account.work.items()
        for work in works
        if place.phase == "forward"
    )

    encoded = rehearsal.encode(loaded, prompt, "0")
    tokens = torch.cat([encoded.tokens, torch.ones(15, dtype=torch.long)]).unsqueeze(0).to("meta")
    positions = torch.zeros(len(encoded.positions), 1, tokens.shape[1], dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        if model.vision:
            grids = encoded.grids
            assert grids is not None
            tower = loaded.core.model.get_image_features
            tower(encoded.pixels, grids, **loaded.patch_positions(grids))
        embedded = loaded.token_embedding(tokens)
        hidden = loaded.decoder(embedded, positions.to("meta"))  # the stock layers: no layout
        loaded.head(hidden[:, -16:])
    seen = counter.get_total_flops()
    assert seen > 1e9
    assert counted == pytest.approx(seen, rel=0.02)


def test_a_backward_pass_costs_two_forward_passes_and_checkpointing_one_more() -> None:
    config = tiny_configs.configuration("qwen2", WIDE, tiny.tokenizer(family="qwen2"))
    model = Shape("qwen2", config, FAMILIES["qwen2"], "a test")
    load = Load((PromptShape(30),), 1, 2, 16)

    def ratio(*, checkpointing: bool) -> float:
        settings = ModelConfig(gradient_checkpointing=checkpointing)
        loaded = shape.build(model, settings, torch.float32)
        account = rehearse(loaded, load, SamplingConfig(), "cpu", rollout=False)
        flops = partial(decoder_flops, account)
        return flops("backward") / flops("forward")

    assert ratio(checkpointing=False) == pytest.approx(2, rel=0.01)
    # The last product of a layer is not made again: nothing in its backward pass reads the result.
    layer = WIDE.hidden_size * (2.25 * WIDE.hidden_size + 3 * WIDE.intermediate_size)
    last = WIDE.hidden_size * WIDE.intermediate_size / layer
    assert ratio(checkpointing=True) == pytest.approx(3 - last, abs=0.05)


def decoder_flops(account: rehearsal.Rehearsal, phase: str) -> float:
    """Return the operations of a phase in the decoder."""
    work = account.work[rehearsal.Place(phase, "decoder")]
    return sum(item.flops for item in work)


def test_autocast_holds_half_precision_copies_and_halves_the_activations() -> None:
    config = tiny_configs.configuration("qwen2", WIDE, tiny.tokenizer(family="qwen2"))
    model = Shape("qwen2", config, FAMILIES["qwen2"], "a test")
    load = Load((PromptShape(200),), 1, 2, 16)
    peaks = {}
    for half in (None, torch.bfloat16):
        loaded = shape.build(model, ModelConfig(), torch.float32)
        account = rehearse(loaded, load, SamplingConfig(), "cuda", half, rollout=False)
        peaks[half] = {p.part: size for p, size in account.peaks["forward"].by_place.items()}
    linear = sum(
        module.weight.numel()
        for module in loaded.language_model.modules()
        if isinstance(module, torch.nn.Linear)
    )
    # Biases have copies as well, which are a thousandth; the head has none yet at this peak.
    assert peaks[torch.bfloat16]["casts"] == pytest.approx(2 * linear, rel=0.01)
    assert "casts" not in peaks[None]
    assert peaks[torch.bfloat16]["decoder"] < 0.75 * peaks[None]["decoder"]
