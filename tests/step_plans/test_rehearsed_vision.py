"""Vision passes that a step keeps, as a rehearsal on "meta" sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vrft import models
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.demo import tiny
from vrft.demo.course import Size
from vrft.models import vision_graphs
from vrft.step_plans import rehearsal, shape
from vrft.step_plans.account import Account, Place
from vrft.step_plans.meta_device import MetaDevice, kernels
from vrft.step_plans.rehearsal import Load, PromptShape, Rehearsal, rehearse
from vrft.step_plans.rehearsed_vision import Graphs

SIZE = Size(64, 128, 2, 2, 1, 48, 3, 3)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep also the passes of tiny towers."""
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 0)


def rehearsed(
    folder: Path, prompts: int, keeps: bool = True, batch: int = 1, **settings: Any
) -> Rehearsal:
    """Rehearse a step of prompts with a picture each, by autocast if ``half`` is given."""
    half = settings.pop("half", None)
    config = ModelConfig(name=str(folder), **settings)
    loaded = shape.build(shape.read(str(folder)), config, torch.float32)
    side = shape.read(str(folder)).factor * 4
    load = Load((PromptShape(10, ((side, side),)),) * prompts, batch, 2, 8)
    return rehearse(loaded, load, SamplingConfig(), "cuda", half, keeps_vision=keeps)


def kept(account: Rehearsal, phase: str) -> int:
    """Return the bytes of kept passes in the peak of a phase."""
    return sum(n for place, n in account.peaks[phase].by_place.items() if place.part == "kept")


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_pass_on_meta_holds_the_bytes_of_a_real_one(
    family: Any, checkpointing: bool, tmp_path: Path
) -> None:
    folder = tiny.write(tmp_path / family, family, SIZE)
    config = ModelConfig(name=str(folder), gradient_checkpointing=checkpointing)
    loaded = models.load_model(config, train=True, device="cpu")
    planned = shape.build(shape.read(str(folder)), config, torch.float32)
    side = shape.read(str(folder)).factor * 4
    (picture,) = rehearsal.encode(planned, PromptShape(10, ((side, side),)), "0").pictures
    rehearsed = Graphs(2**30, Account())
    with MetaDevice(Account(), "cpu"), kernels("cpu", Account()):
        rehearsed.learn_sizes(planned, [picture])
    real = loaded.feature_cache.graphs
    picture = replace(picture, patches=torch.zeros(picture.patches.shape))
    with real.open(), torch.no_grad():
        loaded.feature_cache.encode(loaded.vision_tower, [picture], loaded.encode_pictures)
    (size,) = real.sizes.values()
    assert rehearsed.sizes[len(picture.patches)] == pytest.approx(size, rel=0.01)
    assert size > 10_000 and not rehearsed.kept


def test_the_update_takes_the_passes_and_computes_none(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", "qwen2_vl", SIZE)
    with_them, without = (rehearsed(folder, 3, keeps) for keeps in (True, False))
    assert (with_them.vision_again, without.vision_again) == (0, 1)
    vision = Place("forward", "vision")
    flops = [sum(work.flops for work in each.work[vision]) for each in (with_them, without)]
    # One pass of a picture each: it is the times of it that differ.
    assert flops[0] == pytest.approx(flops[1])
    assert [kept(without, phase) for phase in ("prefill", "forward")] == [0, 0]
    # All three after the rollout; in the update one less, as another micro-batch has gone before.
    assert kept(with_them, "decode") == pytest.approx(1.5 * kept(with_them, "forward"), rel=0.01)
    parts = {place.part for place in with_them.work if place.phase == "backward"}
    assert "vision" in parts and "kept" not in parts


def test_pictures_beyond_the_limit_are_passed_again(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", "qwen2_vl", SIZE)
    one = kept(rehearsed(folder, 1), "decode")
    room = 3 * 2**20 // one  # pictures in 3 MiB
    assert room > 0
    account = rehearsed(folder, room + 2, vision_graph_mib=3)
    assert account.vision_again == pytest.approx(2 / (room + 2))
    assert kept(account, "decode") == pytest.approx(room * one, rel=0.01)


@pytest.mark.parametrize("settings", [{"vision_graph_mib": 0}, {"freeze_vision_tower": True}])
def test_a_limit_of_zero_and_a_frozen_tower_keep_nothing(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = tiny.write(tmp_path / "model", "qwen2_vl", SIZE)
    account = rehearsed(folder, 2, **settings)
    assert account.vision_again == 1
    assert kept(account, "decode") == 0


def test_a_kept_pass_holds_weights_of_its_own_in_half_precision(tmp_path: Path) -> None:
    """Autocast caches no weight in a pass that is kept: each pass holds what it has converted."""
    folder = tiny.write(tmp_path / "model", "qwen2_vl", SIZE)
    loaded = shape.build(shape.read(str(folder)), ModelConfig(), torch.float32)
    linear = [m for m in loaded.vision_tower.modules() if isinstance(m, torch.nn.Linear)]  # type: ignore[union-attr]
    copies = 2 * sum(layer.weight.numel() for layer in linear)
    account = rehearsed(folder, 3, half=torch.bfloat16)
    assert kept(account, "decode") > 3 * copies > 100_000
