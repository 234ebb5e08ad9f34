"""The account of a computation: operations, bytes and held memory, by the parts of a step.

A computation on the "meta" device makes tensors that have shapes and no numbers. Each operator that
runs there is counted as it would run on a real device, so that no formula has to be kept in step
with the model's code.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from transformers.integrations import moe as moe  # which makes the operators below


class Work(NamedTuple):
    """The work of one operator: operations, bytes read and written, and whether it is float32."""

    flops: float
    bytes: float
    wide: bool


class Place(NamedTuple):
    """The place of a tensor or an operator in a step: its phase, and the part of the model."""

    phase: str
    part: str


@dataclass
class Peak:
    """The most bytes that were held at one time in a phase, by the places they came from."""

    total: int = 0
    by_place: dict[Place, int] = field(default_factory=dict)


class Holding(NamedTuple):
    """A storage that is alive; the reference tells when it ends."""

    reference: Any
    place: Place
    bytes: int


def convolution_backward(grad: Any, values: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """Return the operations of a convolution's gradients: the forward's, for each of the two.

    Torch's own formula takes all channels of a grouped convolution for one group.
    """
    *_, output_mask = args
    # Each output value is a product over one filter: [channels of a group, kernel ...].
    return int(2 * grad.numel() * weight[0].numel() * sum(output_mask[:2]))


def grouped_product(rows: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """Return the operations of a grouped product: each row of [S, K] times its expert's [K, N].

    A backward pass, which is given the gradients too, makes two such products.
    """
    products = 2 if len(args) > 1 else 1
    return 2 * products * int(rows.shape[0] * weight.shape[1] * weight.shape[2])


def batched_product(left: Any, right: Any, *args: Any, **kwargs: Any) -> int:
    """Return the operations of products [n, S, K] @ [n, K, N], whatever type is asked for.

    Torch's own formula takes the type for a shape.
    """
    return 2 * int(left.numel() * right.shape[2])


GROUPED = {
    name: operator
    for name in ("grouped_mm_fallback", "grouped_mm_fallback_backward")
    if (operator := getattr(torch.ops.transformers, name, None)) is not None
}
"""transformers' own operators by which tokens pass their experts, by their private names."""

FORMULAS = {
    **flop_registry,
    **dict.fromkeys(GROUPED.values(), grouped_product),
    torch.ops.aten.bmm: batched_product,
    torch.ops.aten.convolution_backward: convolution_backward,
}
"""Operator -> the number of its operations, by its arguments."""

ROWS_READ = {
    "aten::embedding", "aten::index", "aten::index_select", "aten::gather", "aten::slice_scatter",
    "aten::embedding_dense_backward", "aten::index_copy_", "aten::index_put_", "aten::select",
}  # fmt: skip
"""Operators that touch only some rows of their first tensor."""


class Account(TorchDispatchMode):
    """A mode under which all operators on one device are counted.

    ``work`` holds the operators' work by place, ``peaks`` the most memory by phase. Tensors that
    were made before the mode was entered are held by nobody, and enter no peak. The part of an
    operator is the one that ``within`` names; in a backward pass, which no module's call surrounds,
    it is the part whose weight or activation the operator reads.
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.phase, self.parts = "", ["other"]
        self.work: dict[Place, list[Work]] = defaultdict(list)
        self.peaks: dict[str, Peak] = defaultdict(Peak)
        self.held, self.totals = 0, Counter[Place]()  # in bytes
        self.holdings: dict[int, Holding] = {}
        self.known: dict[int, str] = {}  # the parts of weights, by their storages
        self.owners: dict[int, str] = {}  # and those of their copies
        self.counts_flops = True

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Count what happens in the block as this part's."""
        self.parts.append(part)
        try:
            yield
        finally:
            self.parts.pop()

    @contextmanager
    def operations(self, flops: float, wide: bool) -> Iterator[None]:
        """Count so many operations for the block, and none of its operators' own."""
        self.work[Place(self.phase, self.parts[-1])].append(Work(flops, 0, wide))
        self.counts_flops = False
        try:
            yield
        finally:
            self.counts_flops = True

    def know(self, part: str, tensors: Iterator[Tensor]) -> None:
        """Note that these weights belong to a part of the model."""
        for tensor in tensors:
            self.known.setdefault(storage_key(tensor), part)

    def rename(self, tensors: Iterator[Tensor], place: Place) -> None:
        """Move the held storages of tensors to another place of the account."""
        for tensor in tensors:
            self.put(storage_key(tensor), place)

    def put(self, key: int, place: Place) -> None:
        """Count a held storage as another place's; nothing is done for one that is not held."""
        holding = self.holdings.get(key)
        if holding is not None and holding.place != place:
            self.totals[holding.place] -= holding.bytes
            self.totals[place] += holding.bytes
            self.holdings[key] = holding._replace(place=place)

    def keep(self, part: str, name: str) -> None:
        """Count what a part holds now under ``name``; operators that read it stay the part's."""
        for key, holding in list(self.holdings.items()):
            storage = holding.reference()  # which cannot end meanwhile
            if storage is not None and holding.place.part == part:
                self.put(key, holding.place._replace(part=name))
                self.owners.setdefault(key, part)

    def own(self, copy: Tensor, weight: Tensor) -> None:
        """Note that operators which read a copy of a weight belong to the weight's part."""
        part = self.known.get(storage_key(weight))
        if part is not None:
            self.owners[storage_key(copy)] = part

    def release(self, tensor: Tensor) -> None:
        """Stop counting a tensor, which is moved to the memory of another device."""
        holding = self.holdings.get(storage_key(tensor))
        if holding is not None:
            self.count(holding.place, -holding.bytes)
            self.holdings[storage_key(tensor)] = holding._replace(bytes=0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(out) if self.counts(leaf)]
        if func.is_view or not results:
            return out
        read = [leaf for leaf in tree_leaves((args, kwargs)) if self.counts(leaf)]
        place = Place(self.phase, self.part_of(read))
        flops = 0.0
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None and self.counts_flops:
            flops = float(formula(*args, **kwargs, out_val=out))
        # By what is multiplied: a product of halves may return float32.
        wide = (read or results)[0].dtype == torch.float32
        self.work[place].append(Work(flops, moved_bytes(func, read, results), wide))
        for tensor in results:
            self.hold(tensor, place)
        peak = self.peaks[self.phase]
        if self.held > peak.total:
            peak.total = self.held
            peak.by_place = {place: size for place, size in self.totals.items() if size}
        return out

    def counts(self, leaf: Any) -> bool:
        """Return whether a leaf is a tensor on the device of this account."""
        return isinstance(leaf, Tensor) and leaf.device.type == self.device

    def part_of(self, read: list[Tensor]) -> str:
        """Return the part that an operator belongs to, which reads these tensors."""
        if self.phase != "backward" or len(self.parts) > 1:
            return self.parts[-1]
        parts = []
        for tensor in read:
            key = storage_key(tensor)
            owner = self.known.get(key) or self.owners.get(key)
            if owner is not None:
                return owner
            if key in self.holdings:
                place = self.holdings[key].place
                if place.phase == "forward" and place.part != "other":
                    return place.part
                parts.append(place.part)
        return next((part for part in parts if part != "other"), "other")

    def hold(self, tensor: Tensor, place: Place) -> None:
        """Hold a tensor's storage until it ends, unless it is held or known already."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.holdings or key in self.known:
            return
        size = storage.nbytes()

        def end(_: Any) -> None:
            holding = self.holdings.pop(key)
            self.owners.pop(key, None)
            self.count(holding.place, -holding.bytes)

        self.holdings[key] = Holding(weakref.ref(storage, end), place, size)
        self.count(place, size)

    def count(self, place: Place, size: int) -> None:
        """Add bytes to those that are held by a place."""
        self.totals[place] += size
        self.held += size


def storage_key(tensor: Tensor) -> int:
    """Return a number that tensors with the same memory share."""
    return int(tensor.untyped_storage()._cdata)


def moved_bytes(func: Any, read: list[Tensor], results: list[Tensor]) -> float:
    """Return the bytes that an operator reads and writes, each tensor once."""
    written = sum(tensor.nbytes for tensor in results)
    if func._schema.name in ROWS_READ:
        rows = read[1:] if func._schema.name.endswith("_") else results
        return 2.0 * sum(tensor.nbytes for tensor in rows)
    if func._overloadpacket in GROUPED.values():  # no more experts than tokens that pass one
        rows_passed, experts, *others = read
        share = min(1.0, rows_passed.shape[0] / experts.shape[0])
        return written + share * experts.nbytes + sum(t.nbytes for t in (rows_passed, *others))
    return float(written + sum(tensor.nbytes for tensor in read))
