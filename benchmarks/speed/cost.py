"""What a step must compute, and what each side does: closed forms in floating-point operations.

For the 2B shape they equal what torch's counter finds on a model without weights. A product of
matrices [a, b] and [b, c] is 2abc operations; the rest is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.speed.shapes import PATCH_VALUES, Shape


@dataclass(frozen=True)
class Load:
    """One group: ``prompt`` tokens, of which ``pictures`` pictures of ``picture`` tokens each, and
    ``generations`` completions of ``completion`` tokens."""

    prompt: int
    picture: int
    pictures: int
    completion: int
    generations: int


@dataclass(frozen=True)
class Cost:
    """Operations of one group's parts."""

    prefill: float
    decode: float
    policy: float

    @property
    def total(self) -> float:
        """Those of the whole step."""
        return self.prefill + self.decode + self.policy


def vision(shape: Shape, tokens: int) -> float:
    """One picture of so many image tokens through the vision tower and its merger."""
    patches, depth = 4 * tokens, shape.vision_depth
    full = len(shape.full_blocks) if shape.window else depth
    keys = full * patches + (depth - full) * min(shape.window, patches)
    attention = 4 * shape.vision_size * keys
    return patches * (2 * patch_weights(shape) + attention) + 2 * tokens * merger_weights(shape)


def patch_weights(shape: Shape) -> int:
    """Weights of the vision tower that every patch passes."""
    size = shape.vision_size
    block = 4 * size**2 + (3 if shape.gated else 2) * size * shape.vision_inner
    return PATCH_VALUES * size + shape.vision_depth * block


def merger_weights(shape: Shape) -> int:
    """Weights that every image token passes: four patches become one token."""
    merged = 4 * shape.vision_size
    return merged**2 + merged * shape.hidden


def weights(shape: Shape) -> float:
    """Weights of all matrices."""
    seen = 0 if shape.family == "qwen2" else patch_weights(shape) + merger_weights(shape)
    return seen + decoder_weights(shape)


def decoder_weights(shape: Shape) -> float:
    """Weights that every token passes on its way to the next: layers and head."""
    return (per_token(shape) + head(shape)) / 2


def per_token(shape: Shape) -> float:
    """One token through all layers, less what it attends to."""
    kv = shape.kv_heads * shape.head_size
    attention = 4 * shape.hidden * (shape.hidden + kv)
    return shape.layers * (attention + 6 * shape.hidden * shape.inner)


def per_pair(shape: Shape) -> float:
    """One query attending to one key in all layers."""
    return 4 * shape.layers * shape.hidden


def prompt(shape: Shape, tokens: int) -> float:
    """A prompt through the language model."""
    return per_token(shape) * tokens + per_pair(shape) * tokens**2 / 2


def completion(shape: Shape, load: Load) -> float:
    """One completion after its prompt."""
    length = load.completion
    pairs = length * load.prompt + length**2 / 2
    return per_token(shape) * length + per_pair(shape) * pairs


def head(shape: Shape) -> float:
    """The logits of one token."""
    return 2 * shape.hidden * shape.vocabulary


def seeing(shape: Shape, load: Load) -> float:
    """All pictures of a prompt through the vision tower."""
    return load.pictures * vision(shape, load.picture)


def theirs(shape: Shape, load: Load, *, checkpointing: bool) -> Cost:
    """A group in TRL: everything G times. With checkpointing the forward pass is done twice."""
    passes, count = (4 if checkpointing else 3), load.generations
    first = seeing(shape, load) + prompt(shape, load.prompt)
    own, logits = completion(shape, load), load.completion * head(shape)
    return Cost(
        prefill=count * (first + head(shape)),
        decode=count * (own + logits),
        policy=count * (passes * (first + own) + 4 * logits),
    )


def ours(shape: Shape, load: Load, *, checkpointing: bool) -> Cost:
    """A group with its prompt and its pictures computed once."""
    passes, count = (4 if checkpointing else 3), load.generations
    first = seeing(shape, load) + prompt(shape, load.prompt)
    own, logits = completion(shape, load), load.completion * head(shape)
    return Cost(
        prefill=first + head(shape),
        decode=count * (own + logits),
        policy=passes * (first + count * own) + 4 * count * logits,
    )


def necessary(shape: Shape, load: Load) -> Cost:
    """A group without any recomputation: what no implementation can do without."""
    shared = ours(shape, load, checkpointing=False)
    recomputed = load.generations * load.completion * head(shape)
    return Cost(shared.prefill, shared.decode, shared.policy - recomputed)
