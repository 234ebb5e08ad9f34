"""Each lever's own factor: steps with all levers on and with one of them off, in turns.

A lever is switched off from outside, by a setting of the product where there is one and by a patch
here where there is none. The step stays right without it: gradients are the same, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

import vrft.training.step as stepping
from benchmarks.publishing import markdown
from benchmarks.speed import shapes
from benchmarks.speed.contestant import Step
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from vrft.images import open_image
from vrft.models import encoding
from vrft.models.vision_features import PatchedPicture
from vrft.policy import decode_step, logprobs, onednn

ROUNDS = 3
"""Steps with a lever on, and as many with it off."""

SETTINGS = ("lisa", "geoqa", "mathematics", "tied")
"""The settings in which levers are tried unless others are asked for."""

Switch = Callable[[Ours], AbstractContextManager[object]]
"""Changes our side for as long as it is entered."""


@dataclass(frozen=True)
class Lever:
    """A thing that makes a step faster, and how it is switched ``off``.

    ``parts`` are those of a step which it is for. ``around`` holds with the lever on and off alike.
    It is tried in the settings that ``fits`` accepts.
    """

    name: str
    parts: tuple[str, ...]
    off: Switch
    around: Switch = lambda ours: nullcontext()
    fits: Callable[[Setting], bool] = lambda setting: setting.tied == 0


@dataclass(frozen=True)
class Trial:
    """The steps that were taken with a lever on and with it off, in turns."""

    setting: Setting
    shape: Shape
    lever: str
    parts: tuple[str, ...]
    on: tuple[Step, ...]
    off: tuple[Step, ...]

    @property
    def factor(self) -> float:
        """Return how much longer a step takes without the lever: the median over turns."""
        return median(off.whole / on.whole for on, off in zip(self.on, self.off, strict=True))

    @property
    def factor_of_parts(self) -> float:
        """Return how much longer the lever's own parts of a step take without it."""
        return median(
            sum(off.parts[part] for part in self.parts) / sum(on.parts[part] for part in self.parts)
            for on, off in zip(self.on, self.off, strict=True)
        )


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
    never = partial(bool, 0)
    with (
        patched(onednn, "supports", lambda dtype: never()),
        patched(onednn, "reads_in_place", lambda dtype: never()),
    ):
        yield


@contextmanager
def strategy(ours: Ours, **fields: Any) -> Iterator[None]:
    """Decode by another strategy."""
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


def has_pictures(setting: Setting) -> bool:
    """Tell whether a setting has pictures, and no tied groups."""
    return setting.pictures > 0 and not setting.tied


UPDATE = ("forward", "backward")

LEVERS = (
    Lever("a prompt once for its group, sampling", ("rollout",),
          partial(repeated_prompts, method="sample")),
    Lever("a prompt once for its group, update", UPDATE,
          partial(repeated_prompts, method="logps")),
    Lever("vision tower once for a group", ("rollout", *UPDATE), repeated_vision,
          fits=has_pictures),
    Lever("a picture prepared once", ("preprocessing",), repeated_processing, fits=has_pictures),
    Lever("prompts of a step sampled together", ("rollout",), prompts_apart),
    Lever("oneDNN's products while sampling", ("rollout",), plain_products),
    Lever("rows that have ended leave", ("rollout",), partial(strategy, idle_share=1.0),
          around=early_ends),
    Lever("logits of completions only", UPDATE, logits_of_prompts),
    Lever("the rollout's vision passes in the update", ("rollout", *UPDATE), own_vision_passes,
          fits=has_pictures),
    Lever("oneDNN's products in the update", UPDATE, partial(update_layers, products=False)),
    Lever("activations made again", UPDATE, partial(update_layers, activations=False)),
    Lever("the head's gradient in place", UPDATE, partial(update_layers, head=False)),
    Lever("a decode step of the fewest operations", ("rollout",), partial(strategy, fused=False)),
    Lever("no checkpointing", UPDATE, checkpoints),
    Lever("tied groups are not updated on", UPDATE, every_group,
          fits=lambda setting: setting.tied > 0),
)  # fmt: skip
"""A line for each lever. ``partial(strategy, field=value)`` switches one of decoding's off, and
``partial(update_layers, field=False)`` one of the update's."""


def measure(setting: Setting, shape: Shape, rounds: int = ROUNDS) -> tuple[Trial, ...]:
    """Take the steps of every lever that fits a setting: one of each in each round, in turns."""
    shape = shape.reading(setting.pictures)
    levers = [lever for lever in LEVERS if lever.fits(setting)]
    questions = Questions(setting, steps=1 + 2 * rounds * len(levers))
    ours = Ours(questions, shapes.written(shape, "cpu"), "cpu")
    ours.step()  # what is set up at the first step
    steps: dict[str, tuple[list[Step], list[Step]]] = {lever.name: ([], []) for lever in levers}
    for _ in range(rounds):
        for lever in levers:
            on, off = steps[lever.name]
            with ExitStack() as changed:
                changed.enter_context(lever.around(ours))
                on.append(ours.step())
                changed.enter_context(lever.off(ours))
                off.append(ours.step())
    return tuple(
        Trial(setting, shape, lever.name, lever.parts, *map(tuple, steps[lever.name]))
        for lever in levers
    )


def section(trials: Sequence[Trial]) -> str:
    """Render the factors of all levers, a lever a row; "" without any."""
    lines = [
        [
            trial.setting.title,
            trial.lever,
            f"{median(step.whole for step in trial.on):.2f}",
            f"{median(step.whole for step in trial.off):.2f}",
            f"**{trial.factor:.2f}**",
            f"{trial.factor_of_parts:.2f}",
            " and ".join(trial.parts),
        ]
        for trial in trials
    ]
    header = ("setting", "lever", "step with it, s", "without, s", "factor", "of its parts",
              "its parts")  # fmt: skip
    explanation = (
        "Steps with all levers on and with one of them off were taken in turns; a factor is the "
        "median over turns of the time without the lever over that with it."
    )
    return f"{explanation}\n\n{markdown(header, lines)}" if lines else ""
