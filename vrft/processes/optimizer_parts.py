"""The optimizer's state by places in the weights, so that a checkpoint moves between launches.

One device and DDP hold the state of each weight whole, in ``optimizer.pt`` as torch writes it.
DeepSpeed and FSDP2 cut it up: each process writes the elements that it steps, with their places in
the weights, and any other launch takes the elements that it steps from the files of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor

from vrft.errors import UserError
from vrft.processes import shards
from vrft.processes.shards import Place

WHOLE = "optimizer.pt"
"""The file with the state of all weights, as torch's optimizers write it."""

PART = re.compile(r"optimizer-(\d+)-of-(\d+)\.pt")
"""The name of the file with the elements of a process, the first of which is 0."""

MASTER = "weights"
"""The name of DeepSpeed's float32 weights, a part of its state: the module's may be halves."""


def file_name(accelerator: Accelerator) -> str:
    """Return the name of the file with what this process writes of the optimizer's state."""
    if not shards.shards_optimizer(accelerator):
        return WHOLE
    return f"optimizer-{accelerator.process_index}-of-{accelerator.num_processes}.pt"


def state(accelerator: Accelerator, optimizer: Any) -> Any:
    """Return the optimizer's state, or this process's elements of it, as tensors and plain values.

    The elements are rows: the number of the weight in the order of the optimizer's groups, its
    shape, the first element in the flattened weight, and the flat values by their names.
    """
    if not shards.shards_optimizer(accelerator):
        return optimizer.state_dict()
    held = shards.stepped(accelerator, optimizer).state
    rows = []
    for place in shards.places(accelerator, optimizer):
        values = {
            name: flat(value)[place.offset : place.offset + place.count]
            if is_elementwise(value, place.tensor)
            else value
            for name, value in held.get(place.tensor, {}).items()
        }
        if accelerator.state.deepspeed_plugin is not None:
            values[MASTER] = flat(place.tensor)[place.offset : place.offset + place.count]
        row = {"weight": place.weight, "shape": list(place.shape), "start": place.start}
        rows.append(row | {"values": values})
    return rows


def restore(folder: Path, accelerator: Accelerator, optimizer: Any) -> None:
    """Put back the optimizer's state of a checkpoint, whichever launch has saved it.

    DeepSpeed's float32 weights are put back as well, into those that this launch steps. Raises
    UserError for a checkpoint without an optimizer's state, and for one of other weights.
    """
    whole = folder / WHOLE
    if not shards.shards_optimizer(accelerator) and whole.is_file():
        # Loaded onto the CPU, or every process would put a copy onto the device that saved it.
        optimizer.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True))
        return
    saved = Saved(folder)
    held = shards.stepped(accelerator, optimizer).state
    for place in shards.places(accelerator, optimizer):
        for name in saved.names(place):
            value = saved.value(place, name)
            if name == MASTER:
                target = place.tensor
            elif value.ndim == 0:
                # Its own: torch counts in place, and DeepSpeed's weights share one number.
                held[place.tensor][name] = value.to(place.tensor.device, copy=True)
                continue
            else:
                if name not in held[place.tensor]:
                    # DeepSpeed steps many weights as one tensor, with zeros between them.
                    held[place.tensor][name] = torch.zeros_like(place.tensor.detach())
                target = held[place.tensor][name]
            flat(target)[place.offset : place.offset + place.count].copy_(value)


class Saved:
    """The elements of a checkpoint's optimizer, in as many files as processes have saved it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows_of(folder):
            self.rows.setdefault(row["weight"], []).append(row)

    def names(self, place: Place) -> Sequence[str]:
        """Return the names of a weight's values; none of a weight that no update has reached.

        Raises UserError for a weight of another shape.
        """
        rows = self.rows.get(place.weight, [])
        for row in rows:
            if tuple(row["shape"]) != place.shape:
                raise UserError(
                    f"{self.folder}: its optimizer has a weight of {row['shape']} where the model "
                    f"has {list(place.shape)}; it belongs to another model"
                )
        return list(rows[0]["values"]) if rows else []

    def value(self, place: Place, name: str) -> Tensor:
        """Return the elements [count] of a place, or the number that holds for all of them.

        Raises UserError where the files do not hold all of the elements.
        """
        rows = self.rows[place.weight]
        first = torch.as_tensor(rows[0]["values"][name])
        if first.ndim == 0:
            return first
        out, filled = torch.empty(place.count, dtype=first.dtype), 0
        for row in rows:
            values: Tensor = row["values"][name]
            begin = max(place.start, row["start"])
            end = min(place.start + place.count, row["start"] + len(values))
            if begin < end:
                out[begin - place.start : end - place.start] = values[
                    begin - row["start"] : end - row["start"]
                ]
                filled += end - begin
        if filled != place.count:
            raise UserError(
                f"{self.folder}: its optimizer has {filled} of {place.count} elements of a weight; "
                "delete this checkpoint to resume from the one before"
            )
        return out


def rows_of(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of all files of a checkpoint's optimizer, as ``state`` makes them.

    The files are mapped into memory: only what is taken of them is read. Raises UserError where
    there are none, or one of them is missing.
    """
    if (folder / WHOLE).is_file():
        for weight, values in load(folder / WHOLE)["state"].items():
            shape = next((v.shape for v in values.values() if v.ndim), torch.Size())
            flattened = {name: v.view(-1) if v.shape == shape else v for name, v in values.items()}
            yield {"weight": weight, "shape": list(shape), "start": 0, "values": flattened}
        return
    matches = [match for path in folder.iterdir() if (match := PART.fullmatch(path.name))]
    counts = {int(match[2]) for match in matches}
    if len(counts) != 1 or len(matches) != (count := counts.pop()):
        raise UserError(
            f"{folder} has no {WHOLE}, and not all files of the name optimizer-N-of-M.pt; it was "
            "saved by an earlier version, or is incomplete: delete this checkpoint to resume from "
            "the one before, or begin a new run from its weights"
        )
    for number in range(count):
        yield from load(folder / f"optimizer-{number}-of-{count}.pt")


def load(path: Path) -> Any:
    """Load a file of tensors and plain values; no byte of a tensor is read before it is taken."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def flat(tensor: Tensor) -> Tensor:
    """Return the elements of a tensor that this device holds, [n], not a copy."""
    own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return own.detach().view(-1)


def is_elementwise(value: Any, tensor: Tensor) -> bool:
    """Return whether a value of the state has an element for each of the tensor that is stepped."""
    return torch.is_tensor(value) and value.shape == tensor.shape and value.ndim > 0
