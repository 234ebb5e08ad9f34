"""The rehearsal of a training step: the real engine on the "meta" device, counted.

Rollout and update run as in training, by the same functions and with the same shapes, but with no
numbers: no weight is loaded, and 7 billion parameters take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vrft.config.rollout import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import PatchedPicture
from vrft.policy import sampling
from vrft.policy.decode_step import STRATEGIES, weight_copies
from vrft.policy.logprobs import GroupLogps, token_logps
from vrft.step_plans import shape as shapes
from vrft.step_plans.account import Account, Peak, Place, Work
from vrft.step_plans.meta_device import Device, MetaDevice, kernels, run_backward
from vrft.step_plans.rehearsed_vision import Features

STEPS = 3
"""Tokens that are decoded in a rehearsal; all others cost the same."""


@dataclass(frozen=True)
class PromptShape:
    """The tokens of a prompt's text, and the (width, height) of its resized pictures."""

    words: int
    pictures: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Load:
    """The prompts of one device's step, of which ``batch`` pass the model together in an update.

    Each gets ``generations`` completions of ``length`` tokens. ``passes`` is the number of
    micro-batches of an update.
    """

    prompts: tuple[PromptShape, ...]
    batch: int
    generations: int
    length: int

    @property
    def passes(self) -> int:
        """Return the micro-batches of an update."""
        return -(-len(self.prompts) // self.batch)


@dataclass(frozen=True)
class Rehearsal:
    """The account of a step: the most memory by phase, and the work by place.

    Weights, gradients that other passes have made and the optimizer's states are in no peak.
    ``decoded`` is the number of times that a decoding step stands for in ``work``, and ``passes``
    that of micro-batches of an update. ``vision_again`` is the share of its pictures that an update
    passes through the tower: the others' passes were kept by the rollout.
    """

    peaks: dict[str, Peak]
    work: dict[Place, list[Work]]
    decoded: float
    passes: int
    vision_again: float = 1.0


def encode(loaded: LoadedModel, prompt: PromptShape, key: str) -> Encoded:
    """Return a prompt of this shape as the model reads it, its patches on "meta"."""
    if not prompt.pictures:
        tokens = torch.ones(prompt.words, dtype=torch.long)
        return Encoded(tokens, loaded.rope_positions(tokens, None))
    config = loaded.core.config
    vision = config.vision_config
    side, merge = vision.patch_size, vision.spatial_merge_size
    values = vision.in_channels * vision.temporal_patch_size * side**2
    pictures, pieces = [], []
    for number, (width, height) in enumerate(prompt.pictures):
        grid = torch.tensor([[1, height // side, width // side]])
        patches = torch.zeros(int(grid.prod()), values, device="meta")
        pictures.append(PatchedPicture(f"{key} {number}".encode(), patches, grid))
        # A token of text before each picture, or two would be taken for one.
        pieces += [
            torch.ones(1, dtype=torch.long),
            torch.full((len(patches) // merge**2,), config.image_token_id),
        ]
    pieces.append(torch.ones(max(1, prompt.words - len(pictures)), dtype=torch.long))
    tokens = torch.cat(pieces)
    grids = torch.cat([picture.grid for picture in pictures])
    count = int((tokens == config.image_token_id).sum())
    positions = loaded.rope_positions(tokens, grids)
    return Encoded(tokens, positions, tuple(pictures), image_tokens=count)


def rehearse(
    loaded: LoadedModel,
    load: Load,
    settings: SamplingConfig,
    device: Device,
    half: torch.dtype | None = None,
    *,
    rollout: bool = True,
    keeps_vision: bool = False,
) -> Rehearsal:
    """Take a step of a model on "meta" as a device would, and return its account.

    ``half`` is the type of autocast, None without. Without ``rollout`` the completions are given,
    as those of SFT and of another engine are. ``keeps_vision``: the update may take vision passes
    that the rollout keeps, in at most the ``graph_bytes`` of the model.
    """
    account = Account()
    for part, weights in shapes.weights_by_part(loaded).items():
        account.know(part, iter(weights))
    account.know("other", loaded.model.buffers())
    features = Features(account, loaded.graph_bytes if rollout and keeps_vision else 0)
    loaded.feature_cache = features
    prompts = [encode(loaded, prompt, str(i)) for i, prompt in enumerate(load.prompts)]
    pictures = [picture for prompt in prompts for picture in prompt.pictures]
    copies = weight_copies(loaded, half) if device == "cpu" else (0, 0)  # before any hooks
    with ExitStack() as stack:
        stack.enter_context(kernels(device, account))
        machine = MetaDevice(account, device, half, sum(p.image_tokens for p in prompts))
        features.graphs.prepare = lambda tower: machine.uncached()
        with machine, kernels(device, Account()):
            features.graphs.learn_sizes(loaded, pictures)
        stack.enter_context(parts_noted(loaded, account))
        stack.enter_context(features.graphs.open())
        stack.enter_context(account)
        decoded = 0.0
        if rollout:
            with machine:
                roll_out(loaded, prompts, load, settings, device, account, copies)
            decoded = load.length / STEPS
        again = features.graphs.missing(pictures)
        with_pictures = max(prompts, key=lambda prompt: len(prompt.tokens))
        order = [with_pictures, *(p for p in prompts if p is not with_pictures)]
        # At a later micro-batch gradients are there, and the passes that others took are not: the
        # peak is the first one's where these are larger.
        others = order[load.batch :][-load.batch :]
        taken = [picture for prompt in others for picture in prompt.pictures]
        trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
        gradients = sum(weight.nbytes for weight in trained)
        later = load.passes > 1 and features.graphs.bytes_of(taken) <= gradients
        if later:
            features.graphs.drop(taken)
        update(loaded, order[: load.batch], load, device, half, account, later=later)
    work = dict(account.work)
    if again < 1 and pictures:
        # One of all pictures' passes, shared among the micro-batches.
        work[Place("forward", "vision")] = [
            Work(flops / load.passes, moved / load.passes, wide)
            for flops, moved, wide in work[Place("prefill", "vision")]
        ]
    return Rehearsal(dict(account.peaks), work, decoded, load.passes, again)


def roll_out(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    load: Load,
    settings: SamplingConfig,
    device: Device,
    account: Account,
    copies: tuple[int, int] = (0, 0),
) -> None:
    """Sample the first tokens of all completions, with room for the last.

    ``copies`` are the bytes of weights that are laid out anew before the prompts pass, and after.
    """
    strategy = STRATEGIES[device]
    blocks = max(1, -(-(load.length - 1) // strategy.cache_block))
    plain = replace(
        strategy,
        check_every=load.length + STEPS,
        cache_block=blocks * strategy.cache_block,
        capture=None,
        prepare=nullcontext,
    )
    steps = min(STEPS, load.length)
    loaded.model.eval()
    account.phase = "prefill"
    held: list[Tensor] = []

    def hold(size: int) -> None:
        if size:
            with account.within("copies"):
                held.append(torch.empty(size, dtype=torch.uint8, device="meta"))

    def begin_decoding(*_: Any) -> None:
        if account.phase == "prefill":
            hold(copies[1])
            account.phase = "decode"

    hold(copies[0])
    ahead = loaded.head.register_forward_hook(begin_decoding)
    with caches_noted(loaded, account):
        sampling.sample_tokens(
            loaded,
            prompts,
            load.generations,
            replace(settings, max_completion_length=steps),
            [0] * len(prompts),
            plain,
        )
    ahead.remove()
    loaded.model.train()


@contextmanager
def caches_noted(loaded: LoadedModel, account: Account) -> Iterator[None]:
    """Count the keys, values and states of a rollout as its cache's."""

    def note(module: nn.Module, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        cache = kwargs.get("group_cache")
        held = (cache.prompt_states, cache.completion_states, cache.delta_states) if cache else ()
        tensors = chain.from_iterable(pair for states in held for pair in states.values())
        account.rename(tensors, Place(account.phase, "cache"))

    handle = loaded.language_model.register_forward_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def parts_noted(loaded: LoadedModel, account: Account) -> Iterator[None]:
    """Tell the account which part of the model is being called."""
    modules = {"decoder": loaded.language_model, "head": loaded.head}
    if loaded.vision_tower is not None:
        modules["vision"] = loaded.vision_tower
    handles = []
    for part, module in modules.items():

        def enter(*_: Any, part: str = part) -> None:
            account.parts.append(part)

        def leave(*_: Any) -> None:
            account.parts.pop()

        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def update(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    load: Load,
    device: Device,
    half: torch.dtype | None,
    account: Account,
    *,
    later: bool,
) -> None:
    """Pass one micro-batch forward and backward, as an update does: the first, or a later one."""
    trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
    gradients = Place("backward", "gradients")
    for weight in trained:
        weight.register_post_accumulate_grad_hook(
            lambda w: account.rename(iter([w.grad]), gradients)
        )
    if later:
        account.phase = "forward"
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        account.rename((w.grad for w in trained if w.grad is not None), gradients)
    completions = [[[1] * load.length] * load.generations for _ in prompts]
    account.phase = "forward"
    module = GroupLogps(loaded)
    image_tokens = sum(prompt.image_tokens for prompt in prompts)
    with MetaDevice(account, device, half, image_tokens):
        hidden, targets, _ = module.predictions(prompts, completions)
        with account.within("head"):
            logps = token_logps(hidden, targets, loaded.head, 1.0)
    del hidden
    loss = logps.sum()
    account.phase = "backward"
    with MetaDevice(account, device, half, image_tokens):  # for what checkpointing computes again
        run_backward(loss)
