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

from vrft.checks import shape as shapes
from vrft.checks.account import Account, Peak, Place, Work
from vrft.checks.meta_device import Device, MetaDevice, kernels, run_backward
from vrft.config.schema import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import FeatureCache, PatchedPicture, VisionEncoder, is_fixed
from vrft.policy import onednn, sampling
from vrft.policy.decode_step import STRATEGIES
from vrft.policy.logprobs import GroupLogps, token_logps

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
    ``decoded`` is the number of times that a decoding step stands for in ``work``, and ``steps``
    that of passes of an update.
    """

    peaks: dict[str, Peak]
    work: dict[Place, list[Work]]
    decoded: float
    passes: int


class Features(FeatureCache):
    """The remembered features of pictures, which on "meta" cannot be sent to the machine."""

    def __init__(self, account: Account) -> None:
        super().__init__(0)
        self.account = account
        self.made: dict[bytes, Tensor] = {}

    def encode(
        self, tower: nn.Module, pictures: Sequence[PatchedPicture], encoder: VisionEncoder
    ) -> list[Tensor]:
        """Return the encoder's features of each picture; those of a fixed tower are made once."""
        if not is_fixed(tower):
            return list(encoder(pictures))
        return [self.features_of(picture, encoder) for picture in pictures]

    @torch.no_grad()
    def features_of(self, picture: PatchedPicture, encoder: VisionEncoder) -> Tensor:
        """Return a picture's features, made once and then held outside of the device's memory."""
        if picture.key in self.made:  # sent from the machine's memory to the device's
            return self.made[picture.key].clone()
        (features,) = encoder([picture])
        self.made[picture.key] = features
        self.account.release(features)
        return features.clone()


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
) -> Rehearsal:
    """Take a step of a model on "meta" as a device would, and return its account.

    ``half`` is the type of autocast, None without. Without ``rollout`` the completions are given,
    as those of SFT and of another engine are.
    """
    account = Account()
    for part, weights in shapes.weights_by_part(loaded).items():
        account.know(part, iter(weights))
    account.know("other", loaded.model.buffers())
    loaded.feature_cache = Features(account)
    prompts = [encode(loaded, prompt, str(i)) for i, prompt in enumerate(load.prompts)]
    with ExitStack() as stack:
        stack.enter_context(kernels(device, account))
        stack.enter_context(parts_noted(loaded, account))
        stack.enter_context(account)
        decoded = 0.0
        if rollout:
            image_tokens = sum(prompt.image_tokens for prompt in prompts)
            with MetaDevice(account, device, half, image_tokens):
                roll_out(loaded, prompts, load, settings, device, account)
            decoded = load.length / STEPS
        with_pictures = max(prompts, key=lambda prompt: len(prompt.tokens))
        order = [with_pictures, *(p for p in prompts if p is not with_pictures)]
        update(loaded, order[: load.batch], load, device, half, account)
    return Rehearsal(dict(account.peaks), dict(account.work), decoded, load.passes)


def roll_out(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    load: Load,
    settings: SamplingConfig,
    device: Device,
    account: Account,
) -> None:
    """Sample the first tokens of all completions, with room for the last."""
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
    ahead = loaded.head.register_forward_hook(lambda *_: setattr(account, "phase", "decode"))
    with packed(loaded.model, device, account), caches_noted(loaded, account):
        sampling.decode(
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
def packed(model: nn.Module, device: Device, account: Account) -> Iterator[None]:
    """Hold the copies of weights that a rollout on a CPU makes for oneDNN."""
    layers = [
        layer.weight
        for layer in model.modules()
        if type(layer) is nn.Linear and layer.weight.numel() >= onednn.MIN_LAYER
    ]
    copies: list[Tensor] = []
    fits = sum(weight.numel() for weight in layers) <= onednn.MAX_MODEL
    if device == "cpu" and fits and layers and onednn.supports(layers[0].dtype):
        with account.within("cache"):
            copies = [torch.empty_like(weight) for weight in layers]
    yield
    copies.clear()


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
) -> None:
    """Pass one micro-batch forward and backward, as an update does."""
    trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
    gradients = Place("backward", "gradients")
    for weight in trained:
        weight.register_post_accumulate_grad_hook(
            lambda w: account.rename(iter([w.grad]), gradients)
        )
    if load.passes > 1:
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
