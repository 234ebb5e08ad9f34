"""The elements of a weight that a process steps are found in what each engine keeps."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType

from vrft.errors import UserError
from vrft.processes import shards


@pytest.mark.parametrize(
    ("kind", "sharded"),
    [
        (DistributedType.NO, False),
        (DistributedType.MULTI_CPU, False),
        (DistributedType.DEEPSPEED, True),
        (DistributedType.FSDP, True),
    ],
)
def test_the_optimizers_state_is_cut_up_by_deepspeed_and_fsdp_alone(
    kind: DistributedType, sharded: bool
) -> None:
    accelerator: Any = SimpleNamespace(distributed_type=kind)
    assert shards.shards_optimizer(accelerator) == sharded


def test_one_device_steps_each_weight_as_it_is() -> None:
    """Two groups of the optimizer: 6 elements, then 4; the weights are counted through both."""
    weights = [torch.zeros(2, 3, requires_grad=True), torch.zeros(4, requires_grad=True)]
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=1.0)
    accelerator: Any = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=None))
    first, second = shards.places(accelerator, optimizer)
    assert first == shards.Place(0, (2, 3), 0, 6, weights[0])
    assert second == shards.Place(1, (4,), 0, 4, weights[1])
    assert shards.stepped(accelerator, optimizer) is optimizer


def test_a_deepspeed_that_keeps_its_weights_elsewhere_is_refused() -> None:
    other = SimpleNamespace(optimizer=SimpleNamespace(optimizer=None))
    with pytest.raises(UserError, match="this DeepSpeed's SimpleNamespace has no float32 weights"):
        shards.master_weights(other)


def test_the_weights_that_deepspeed_steps_are_found_in_every_stage() -> None:
    for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        inner, part = object(), torch.zeros(3)
        zero = SimpleNamespace(optimizer=inner, **{name: [part]})
        assert shards.master_weights(SimpleNamespace(optimizer=zero)) == (inner, [part])


def test_the_places_of_weights_are_told_by_stage_2_with_and_without_offload() -> None:
    """With offload it has a ``grad_position`` as stage 3 has; the second weight is cut in two."""
    part = torch.zeros(5)
    mapping = SimpleNamespace(
        lp_fragment_address=SimpleNamespace(start=2, numel=4),
        hp_fragment_address=SimpleNamespace(start=1, numel=4),
    )
    weights = [SimpleNamespace(_hp_mapping=None, shape=(3,)),
               SimpleNamespace(_hp_mapping=mapping, shape=(2, 3))]  # fmt: skip
    for offload in ({}, {"grad_position": {}}):
        zero = SimpleNamespace(
            optimizer=object(), bit16_groups=[weights], single_partition_of_fp32_groups=[part],
            **offload,
        )  # fmt: skip
        (place,) = shards.deepspeed_places(SimpleNamespace(optimizer=zero))
        assert place == shards.Place(1, (2, 3), 2, 4, part, 1)


def test_a_deepspeed_that_does_not_tell_the_places_of_weights_is_refused() -> None:
    zero = SimpleNamespace(optimizer=object(), single_partition_of_fp32_groups=[torch.zeros(1)])
    with pytest.raises(UserError, match="does not tell where its weights are"):
        shards.deepspeed_places(SimpleNamespace(optimizer=zero))


@pytest.mark.parametrize(("installed", "fits"), [("0.19.0", False), ("0.19.2", True)])
def test_a_deepspeed_that_rounds_rotary_positions_is_refused(
    installed: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.19.0 has ``module.bfloat16()``, which casts buffers too; 0.19.2 casts parameters alone."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: installed)
    monkeypatch.setattr(shards, "version", lambda name: installed)
    said = "DeepSpeed 0.19.0 rounds rotary positions in half precision; install deepspeed>=0.19.2"
    with nullcontext() if fits else pytest.raises(UserError, match=said):
        shards.check_deepspeed()
