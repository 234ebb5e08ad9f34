"""An optimizer's state is put together again from its parts, whoever has cut it up and how."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.processes import distributed, optimizer_parts, shards
from vrft.processes.shards import Place

SHAPES = [(3, 5), (7,), (1, 1), (2, 2, 2)]


def stepped(seed: int = 0, steps: int = 2) -> torch.optim.AdamW:
    """AdamW over some weights in two groups, after steps on random gradients."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = torch.optim.AdamW([{"params": weights[:2]}, {"params": weights[2:]}], fused=True)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return optimizer


def weights_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def write_parts(folder: Path, optimizer: torch.optim.Optimizer, cuts: list[list[int]]) -> None:
    """Write the state as processes do that hold the elements between cuts of each flat weight."""
    count = len(cuts[0]) - 1
    for process in range(count):
        rows = []
        for number, (weight, cut) in enumerate(zip(weights_of(optimizer), cuts, strict=True)):
            begin, end = cut[process], cut[process + 1]
            state = optimizer.state[weight]
            values = {
                name: value.view(-1)[begin:end] if value.ndim else value
                for name, value in state.items()
            }
            row = {"weight": number, "shape": list(weight.shape), "start": begin, "values": values}
            rows += [row] if begin < end else []
        torch.save(rows, folder / f"optimizer-{process}-of-{count}.pt")


CUTS = [
    # by halves, at odd places, and with processes that hold nothing of a weight
    [[0, 8, 15], [0, 4, 7], [0, 1, 1], [0, 4, 8]],
    [[0, 1, 15], [0, 7, 7], [0, 0, 1], [0, 3, 8]],
    [[0, 5, 5, 9, 15], [0, 2, 4, 6, 7], [0, 1, 1, 1, 1], [0, 0, 0, 8, 8]],
]


@pytest.mark.parametrize("cuts", CUTS)
def test_one_device_takes_all_elements_from_the_files_of_many(
    cuts: list[list[int]], tmp_path: Path
) -> None:
    """And steps on as the optimizer that was cut up."""
    before, after = stepped(), stepped(seed=0, steps=0)
    write_parts(tmp_path, before, cuts)
    accelerator = distributed.accelerator(ModelConfig())
    optimizer_parts.restore(tmp_path, accelerator, after)
    for old, new in zip(weights_of(before), weights_of(after), strict=True):
        assert before.state[old].keys() == after.state[new].keys()
        assert all(torch.equal(v, after.state[new][k]) for k, v in before.state[old].items())
        new.data.copy_(old.data)
    for optimizer in (before, after):
        for weight in weights_of(optimizer):
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    for old, new in zip(weights_of(before), weights_of(after), strict=True):
        assert torch.equal(old, new)
        assert float(after.state[new]["step"]) == 3


class Flat:
    """A process of two that steps the second half of all weights as one padded flat tensor."""

    def __init__(self, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        self.tensor, self.state = torch.zeros(sum(sizes) + 3), {}
        self.state[self.tensor] = dict[str, Tensor]()
        self.places, offset = [], 0
        for number, (shape, size) in enumerate(zip(SHAPES, sizes, strict=True)):
            count = size - size // 2
            self.places.append(Place(number, shape, size // 2, count, self.tensor, offset))
            offset += count
        monkeypatch.setattr(shards, "places", lambda accelerator, optimizer: self.places)
        monkeypatch.setattr(shards, "stepped", lambda accelerator, optimizer: self)
        monkeypatch.setattr(shards, "shards_optimizer", lambda accelerator: True)


def launch(plugin: object = None) -> Any:
    state = SimpleNamespace(deepspeed_plugin=plugin)
    return SimpleNamespace(state=state, process_index=1, num_processes=2)


@pytest.mark.parametrize("cuts", [None, *CUTS])
def test_a_process_takes_its_elements_from_whichever_files_hold_them(
    cuts: list[list[int]] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the whole state of one device; what it writes then is what it has taken."""
    before = stepped()
    if cuts is None:
        torch.save(before.state_dict(), tmp_path / optimizer_parts.WHOLE)
    else:
        write_parts(tmp_path, before, cuts)
    sizes = [weight.numel() for weight in weights_of(before)]
    flat = Flat(sizes, monkeypatch)
    optimizer_parts.restore(tmp_path, launch(), flat)
    halves = [before.state[w]["exp_avg"].view(-1)[w.numel() // 2 :] for w in weights_of(before)]
    moments = flat.state[flat.tensor]["exp_avg"]
    total = sum(map(len, halves))
    assert torch.equal(moments[:total], torch.cat(halves))
    assert moments[total:].count_nonzero() == 0  # padding
    assert float(flat.state[flat.tensor]["step"]) == 2
    rows = optimizer_parts.state(launch(plugin=object()), flat)
    for row, half, place in zip(rows, halves, flat.places, strict=True):
        assert torch.equal(row["values"]["exp_avg"], half)
        assert (row["weight"], row["start"]) == (place.weight, place.start)
        assert optimizer_parts.MASTER in row["values"]  # DeepSpeed's float32 weights


def test_float32_weights_of_deepspeed_come_back_as_the_weights(tmp_path: Path) -> None:
    after = stepped(seed=1, steps=0)
    rows = [
        {"weight": number, "shape": list(w.shape), "start": 0,
         "values": {optimizer_parts.MASTER: torch.full((w.numel(),), float(number))}}
        for number, w in enumerate(weights_of(after))
    ]  # fmt: skip
    torch.save(rows, tmp_path / "optimizer-0-of-1.pt")
    optimizer_parts.restore(tmp_path, distributed.accelerator(ModelConfig()), after)
    assert [w.unique().tolist() for w in weights_of(after)] == [[0.0], [1.0], [2.0], [3.0]]


def test_an_optimizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, stepped(), CUTS[0])
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(5, 3))])
    with pytest.raises(UserError, match=r"a weight of \[3, 5\] where the model has \[5, 3\]"):
        optimizer_parts.restore(tmp_path, distributed.accelerator(ModelConfig()), other)


@pytest.mark.parametrize("lost", ["optimizer-0-of-2.pt", "optimizer-1-of-2.pt", "both"])
def test_a_checkpoint_without_all_parts_is_refused(lost: str, tmp_path: Path) -> None:
    """Those of an earlier version, which fit its own launch alone, have other names."""
    write_parts(tmp_path, stepped(), CUTS[0])
    for path in list(tmp_path.iterdir()):
        if lost in (path.name, "both"):
            path.rename(tmp_path / path.name.replace("optimizer-", "optimizer-deepspeed-"))
    with pytest.raises(UserError, match=r"not all files of the name optimizer-N-of-M\.pt"):
        optimizer_parts.restore(tmp_path, distributed.accelerator(ModelConfig()), stepped())


def test_a_part_with_a_hole_is_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, stepped(), [[0, 8, 14], [0, 4, 7], [0, 1, 1], [0, 4, 8]])
    with pytest.raises(UserError, match="has 14 of 15 elements of a weight"):
        optimizer_parts.restore(tmp_path, distributed.accelerator(ModelConfig()), stepped())
