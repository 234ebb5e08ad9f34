"""Switches that take our step one of its levers, for as long as they are entered.

A lever is switched off from outside, by a setting of the product where there is one and by a patch
here where there is none. The step stays right without it: gradients are the same, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import vrft.training.step as stepping
from benchmarks.speed.ours import Ours
from vrft.images import open_image
from vrft.models import encoding
from vrft.models.vision_features import PatchedPicture
from vrft.policy import decode_step, logprobs, onednn

Switch = Callable[[Ours], AbstractContextManager[object]]
"""Changes our side for as long as it is entered."""


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of a module or an object another value meanwhile."""
    own = vars(owner)
    missing = name not in own
    before = own.get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if missing:
            delattr(owner, name)  # the class's own again
        else:
            setattr(owner, name, before)


@contextmanager
def repeated_prompts(ours: Ours, method: str) -> Iterator[None]:
    """Repeat a prompt and its pictures for each completion in "sample" or in "logps"."""
    plain = getattr(ours.policy, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        with patched(ours.policy.loaded, "shared_prefix", False):
            return plain(*args, **kwargs)

    with patched(ours.policy, method, call):
        yield


@contextmanager
def repeated_processing(ours: Ours) -> Iterator[None]:
    """Prepare a picture twice for each completion, for the rollout and for the update, as TRL."""
    plain, times = encoding.read_picture, 2 * ours.run.config.algorithm.num_generations

    def read(loaded: Any, source: Any) -> PatchedPicture:
        for _ in range(times - 1):
            loaded.processor.image_processor(images=[open_image(source)], return_tensors="pt")
        return plain(loaded, source)

    with patched(encoding, "read_picture", read):
        yield


@contextmanager
def repeated_vision(ours: Ours) -> Iterator[None]:
    """Pass a picture through the vision tower once for each completion, and take the mean."""
    loaded, times = ours.policy.loaded, ours.run.config.algorithm.num_generations
    plain = loaded.encode_pictures

    def encode(pictures: Sequence[PatchedPicture]) -> list[Tensor]:
        features = plain([*pictures] * times)
        return [torch.stack(features[i :: len(pictures)]).mean(0) for i in range(len(pictures))]  # type: ignore[arg-type]

    with patched(loaded, "encode_pictures", encode):
        yield


@contextmanager
def plain_products(ours: Ours) -> Iterator[None]:
    """Multiply with torch's own products while sampling."""
    with (
        patched(onednn, "supports", lambda dtype: False),
        patched(onednn, "reads_in_place", lambda dtype: False),
    ):
        yield


@contextmanager
def strategy(ours: Ours, **fields: Any) -> Iterator[None]:
    """Decode by the device's strategy with other values of these ``fields``."""
    device = ours.policy.loaded.device.type
    before = decode_step.STRATEGIES[device]
    decode_step.STRATEGIES[device] = replace(before, **fields)
    try:
        yield
    finally:
        decode_step.STRATEGIES[device] = before


@contextmanager
def prompts_apart(ours: Ours) -> Iterator[None]:
    """Sample the groups of a step one after the other."""
    plain = ours.policy.sample

    def sample(encoded: Any, count: int, sampling: Any, seeds: Any, **kwargs: Any) -> Any:
        return [
            group
            for prompt, seed in zip(encoded, seeds, strict=True)
            for group in plain([prompt], count, sampling, [seed], **kwargs)
        ]

    with patched(ours.policy, "sample", sample):
        yield


@contextmanager
def logits_of_prompts(ours: Ours) -> Iterator[None]:
    """Compute the logits of the prompt's tokens as well in the update, with gradients of zero."""
    loaded, states = ours.policy.loaded, []
    decoder = loaded.decoder

    def decode(*args: Any, **kwargs: Any) -> Tensor:
        out = decoder(*args, **kwargs)
        if torch.is_grad_enabled():
            states.append(out[0, : kwargs["layout"].prompt_tokens])
        return out

    def measured(
        plain: Callable[..., Tensor], hidden: Tensor, targets: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        if not torch.is_grad_enabled():
            return plain(hidden, targets, *args, **kwargs)
        more = states.pop()
        rows = torch.cat([hidden, more])
        places = torch.cat([targets, targets.new_zeros(len(more))])
        return plain(rows, places, *args, **kwargs)[: len(hidden)]

    with (
        patched(loaded, "decoder", decode),
        patched(logprobs, "token_logps", partial(measured, logprobs.token_logps)),
        patched(logprobs, "fused_logps", partial(measured, vars(logprobs)["fused_logps"])),
    ):
        yield


@contextmanager
def early_ends(ours: Ours) -> Iterator[None]:
    """Let completions end early, after half of their full length on average."""
    loaded, sampling = ours.policy.loaded, ours.run.config.sampling
    count = 2 * loaded.head.out_features // (sampling.max_completion_length or 1)
    tokens = [token for token in range(loaded.head.out_features) if token not in loaded.banned_ids]
    # random weights: every token is about as likely as any other
    with patched(loaded, "end_ids", frozenset(tokens[:count])):
        yield


@contextmanager
def every_group(ours: Ours) -> Iterator[None]:
    """Pass tied groups through the update as well."""
    plain = vars(stepping)["make_experience"]  # imported there, and called by that name

    def make(*args: Any) -> Any:
        made = plain(*args)
        return replace(made, informative=torch.ones_like(made.informative))

    with patched(stepping, "make_experience", make):
        yield


@contextmanager
def update_layers(ours: Ours, **fields: bool) -> Iterator[None]:
    """Compute an update's layers without one of the ways in which they differ from torch's."""
    module: Any = ours.policy.module
    graphs = ours.policy.loaded.feature_cache.graphs
    layers = replace(module.layers, **fields)
    with (
        patched(module, "layers", layers),
        patched(graphs, "prepare", partial(layers.of, module.model)),
    ):
        yield


@contextmanager
def own_vision_passes(ours: Ours) -> Iterator[None]:
    """Let the update make its own passes of the vision tower."""
    with patched(ours.policy.loaded.feature_cache.graphs, "limit", 0):
        yield


@contextmanager
def checkpoints(ours: Ours) -> Iterator[None]:
    """Recompute each layer's activations in the backward pass, as TRL does by default.

    Layers are torch's own then, as without the levers of an update's layers.
    """
    ours.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        ours.model.gradient_checkpointing_disable()
