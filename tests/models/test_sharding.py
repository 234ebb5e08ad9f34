"""Sharded weights are recognised, as DeepSpeed and FSDP2 mark them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from vrft.models import sharding
from vrft.models.loaded import LoadedModel


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Start a process group of this process alone."""
    # in the memory of this process: no port is opened, and no launcher is needed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


def test_plain_weights_are_whole() -> None:
    module = net()
    assert not sharding.is_sharded(module)
    assert not any(sharding.is_part(weight) for weight in module.parameters())


def test_one_weight_that_deepspeed_numbers_makes_a_sharded_module() -> None:
    module = net()
    module[1].bias.ds_id = 7  # as DeepSpeed numbers the weights that it shards
    assert sharding.is_part(module[1].bias) and not sharding.is_part(module[0].bias)
    assert sharding.is_sharded(module) and not sharding.is_sharded(module[0])


def test_fsdps_weights_are_parts_until_they_are_gathered_and_its_module_is_sharded_always(
    mesh: DeviceMesh,
) -> None:
    module = net()
    fully_shard(module, mesh=mesh)
    assert all(sharding.is_part(weight) for weight in module.parameters())
    assert sharding.is_sharded(module)
    module.unshard()
    assert not any(sharding.is_part(weight) for weight in module.parameters())
    assert sharding.is_sharded(module)  # its hooks gather and cut up again
    module.reshard()
    assert all(sharding.is_part(weight) for weight in module.parameters())


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_layers_to_shard_are_classes_of_the_model(
    family: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    core = load_tiny(family).core
    names = {type(part).__name__ for part in core.modules()}
    layers = sharding.layers_to_shard(core)
    assert "Qwen2" in " ".join(layers) and layers & names
    assert any(name.endswith("DecoderLayer") for name in layers & names)


@pytest.mark.parametrize("named", [None, [], ()])
def test_a_model_whose_layers_transformers_does_not_name_is_sharded_as_one(named: object) -> None:
    module = torch.nn.Linear(2, 2)
    assert sharding.layers_to_shard(module) == set()
    module._no_split_modules = named
    assert sharding.layers_to_shard(module) == set()
