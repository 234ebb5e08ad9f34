"""Tokens, patches and pictures that pass a contestant's weights in one step, counted exactly.

A row is counted where a matrix product reads the weight, which is known by its storage: no way
around a module's forward escapes. A weight in oneDNN's layout is another tensor, known from the
moment it is made. Recomputation and the backward pass are not counted. The counts are the same on
any machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from benchmarks.speed.contestant import Contestant, Record
from benchmarks.speed.settings import Setting
from vrft.policy import onednn

PHASES = {"rollout": "rollout", "forward": "update"}
"""The parts of a step in which rows are counted, and their names in the counts."""

TOKENS = "tokens through the language model"
LOGITS = "rows of logits"
PATCHES = "patches through the vision tower"
PREPROCESSED = "pictures through the image processor"
BACKWARD = "backward passes"
UPDATE_PATCHES = f"update: {PATCHES}"

PRODUCTS = {
    "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.linear", "aten.convolution",
    f"mkldnn.{onednn.LINEAR}",
}  # fmt: skip
"""Operators, with all of their overloads, whose result has a row for every row that they read."""

REORDER = f"mkldnn.{onednn.REORDER}"
"""The operator that copies a weight into oneDNN's layout before a rollout."""


class ProductCounter(TorchDispatchMode):
    """A mode that adds up the rows with which some weights are multiplied, by phase and weight.

    A product with a slice of a weight counts as the share of a row that it gives: logits that are
    computed in pieces of the vocabulary add up to one row.
    """

    def __init__(self, side: Contestant, counts: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.side, self.counts = side, counts
        weights = watched_weights(side)
        self.names = {storage(weight): name for name, weight in weights.items()}
        self.widths = {name: len(weight) for name, weight in weights.items()}
        # By object, as a tensor in oneDNN's layout has no storage to be known by. Weakly, as the
        # copies end with the rollout, after which another tensor may have the same identity.
        self.reordered = WeakIdKeyDictionary()
        self.numbers: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = str(func.overloadpacket)
        # by name: a build of torch may lack an operator, and has no object for it then
        if operator == REORDER:
            self.reordered[out] = self.name_of(args[0])
        elif operator in PRODUCTS and (phase := PHASES.get(self.side.clock.part)):
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            for name in {self.name_of(tensor) for tensor in tensors} - {""}:
                key = f"{phase}: {name}"
                # rounded from the sum, as a slice of a weight gives less than a row
                self.numbers[key] += out.numel()
                self.counts[key] = round(self.numbers[key] / self.widths[name])
        return out

    def name_of(self, tensor: Tensor) -> str:
        """Return the name of the rows that a watched weight is counted in; "" for any other."""
        if tensor.is_mkldnn:
            return str(self.reordered.get(tensor, ""))
        return self.names.get(storage(tensor), "")


def storage(tensor: Tensor) -> int:
    """Return the address of a tensor's numbers, the same for all views of them."""
    # not tensor.data_ptr(), which differs for a slice
    return tensor.untyped_storage().data_ptr()


def watched_weights(side: Contestant) -> dict[str, Tensor]:
    """Return a weight that every token, logit or patch passes once, by the name of its rows."""
    language_model: Any = side.language_model
    weights = {
        # Any matrix of any layer would do; attention's are split and merged by some models.
        TOKENS: language_model.layers[0].mlp.down_proj.weight,
        LOGITS: side.model.get_output_embeddings().weight,
    }
    if side.has_vision:
        weights[PATCHES] = side.model.model.visual.patch_embed.proj.weight
    return weights


def least(setting: Setting, prompt: int) -> dict[str, int]:
    """Return the smallest possible counts of a step on prompts of ``prompt`` tokens.

    Every prompt and picture passes once in each phase, whatever its group, and every token of a
    completion except the last, which nothing follows.
    """
    prompts, completions = setting.prompts, setting.prompts * setting.generations
    # a tied group needs no update
    updated = setting.informative * setting.generations
    tokens = prompts * prompt + completions * (setting.completion - 1)
    counts = {
        f"rollout: {TOKENS}": tokens,
        # a group's first tokens are drawn from one row
        f"rollout: {LOGITS}": prompts + completions * (setting.completion - 1),
        f"update: {TOKENS}": setting.informative * prompt + updated * (setting.completion - 1),
        f"update: {LOGITS}": updated * setting.completion,
        BACKWARD: 1,
    }
    if pictures := prompts * setting.pictures:
        counts[PREPROCESSED] = pictures
        # an image token is made of 2 x 2 patches
        counts[f"rollout: {PATCHES}"] = 4 * prompts * setting.image_tokens
        counts[UPDATE_PATCHES] = 4 * setting.informative * setting.image_tokens
    return counts


def require_complete(counts: Mapping[str, int], setting: Setting, prompt: int) -> None:
    """Raise RuntimeError for a count below the smallest possible one: a product went uncounted.

    This is no mistake of a user's but of PRODUCTS, and what was counted must not be published.
    """
    for name, fewest in least(setting, prompt).items():
        # an update may take the passes that its rollout has made, and then makes none
        if name == UPDATE_PATCHES and counts.get(name) == 0:
            continue
        if counts.get(name, 0) < fewest:
            raise RuntimeError(
                f"counted {counts.get(name, 0)} {name} where no step of {setting.name!r} does with "
                f"fewer than {fewest}: an operator is missing in counters.PRODUCTS"
            )


@contextmanager
def recorded(side: Contestant, device: str) -> Iterator[Record]:
    """Record the step that a side takes within; its counts are complete at the end of it.

    On a GPU nothing is counted: autocast multiplies with copies, and CUDA graphs without torch.
    """
    side.record = record = Record()
    preprocessed = side.preprocessed
    try:
        with ProductCounter(side, record.counts) if device == "cpu" else nullcontext():
            yield record
    finally:
        side.record = None
    # both are counted by the contestant itself
    if device == "cpu":
        record.counts[BACKWARD] = side.clock.calls["backward"]
        if side.has_vision:
            record.counts[PREPROCESSED] = side.preprocessed - preprocessed
            record.counts[UPDATE_PATCHES] += 0  # told where there are none, too
