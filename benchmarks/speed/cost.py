"""Operations that a step must compute, and that each side does compute, in closed forms.

For the 2B shape they equal what torch's counter finds on a model without weights. A product of
matrices [a, b] and [b, c] is 2abc operations; norms, activations and softmax are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.speed.shapes import PATCH_VALUES, Shape


@dataclass(frozen=True)
class Load:
    """One group: a prompt of ``prompt`` tokens and its ``generations`` completions.

    The prompt has ``pictures`` pictures of ``picture`` tokens each, which ``prompt`` counts as
    well; a completion has ``completion`` tokens.
    """

    prompt: int
    picture: int
    pictures: int
    completion: int
    generations: int


@dataclass(frozen=True)
class Cost:
    """The operations of one group, by the parts of a step; ``policy`` is forward and backward."""

    prefill: float
    decode: float
    policy: float

    @property
    def total(self) -> float:
        """Return the operations of the whole step."""
        return self.prefill + self.decode + self.policy

    def updating(self, share: float) -> Cost:
        """Return the mean cost of groups of which only a share is updated on."""
        return replace(self, policy=share * self.policy)


def vision(shape: Shape, tokens: int) -> float:
    """Return the operations of one picture of so many image tokens: vision tower and merger."""
    patches = 4 * tokens  # an image token is made of 2 x 2 patches
    attention = 4 * shape.vision_size * shape.vision_depth * patches  # of one patch to all
    return patches * (2 * patch_weights(shape) + attention) + 2 * tokens * merger_weights(shape)


def patch_weights(shape: Shape) -> int:
    """Count the weights of the vision tower that every patch passes."""
    size = shape.vision_size
    # queries, keys, values and output; two matrices of the MLP
    block = 4 * size**2 + 2 * size * shape.vision_inner
    return PATCH_VALUES * size + shape.vision_depth * block


def merger_weights(shape: Shape) -> int:
    """Count the weights that every image token passes: four patches become one token."""
    merged = 4 * shape.vision_size  # a first matrix keeps this width, a second one changes it
    return merged**2 + merged * shape.hidden


def weights(shape: Shape) -> float:
    """Count the weights of all matrices."""
    # embedding and head are tied: one matrix, counted as the head
    seen = 0 if shape.family == "qwen2" else patch_weights(shape) + merger_weights(shape)
    return seen + decoder_weights(shape)


def decoder_weights(shape: Shape) -> float:
    """Count the weights that every token passes on its way to the next: layers and head."""
    return (per_token(shape) + head(shape)) / 2


def per_token(shape: Shape) -> float:
    """Return the operations of one token in all layers, attention to other tokens left out."""
    kv = shape.kv_heads * shape.head_size
    # Two operations for each weight: queries and output [D, D], keys and values [D, kv], and the
    # three matrices of a gated MLP.
    attention = 4 * shape.hidden * (shape.hidden + kv)
    return shape.layers * (attention + 6 * shape.hidden * shape.inner)


def per_pair(shape: Shape) -> float:
    """Return the operations of one query attending to one key in all layers."""
    # a product with the key, and one with the value, over all heads
    return 4 * shape.layers * shape.hidden


def head(shape: Shape) -> float:
    """Return the operations of the logits of one token."""
    return 2 * shape.hidden * shape.vocabulary


def passes_of(shape: Shape, load: Load) -> tuple[float, float, float]:
    """Return the operations of three forward passes.

    The first is that of a prompt with its pictures, the second that of one completion's tokens, the
    third that of their logits.
    """
    length = load.completion
    # causal attention: on average a token attends to half of its own sequence
    prompt_pairs = load.prompt**2 / 2
    pairs = length * load.prompt + length**2 / 2
    prompt = per_token(shape) * load.prompt + per_pair(shape) * prompt_pairs
    completion = per_token(shape) * length + per_pair(shape) * pairs
    pictures = load.pictures * vision(shape, load.picture)
    return pictures + prompt, completion, length * head(shape)


def theirs(shape: Shape, load: Load, *, checkpointing: bool) -> Cost:
    """Return a group's cost in TRL: everything G times, the forward pass twice if checkpointed.

    A backward pass costs two forward passes. The logits are always computed again for it.
    """
    passes, count = (4 if checkpointing else 3), load.generations
    prompt, completion, logits = passes_of(shape, load)
    return Cost(
        prefill=count * (prompt + head(shape)),
        decode=count * (completion + logits),
        policy=count * (passes * (prompt + completion) + 4 * logits),
    )


def ours(shape: Shape, load: Load, *, checkpointing: bool) -> Cost:
    """Return a group's cost with its prompt and its pictures computed once."""
    passes, count = (4 if checkpointing else 3), load.generations
    prompt, completion, logits = passes_of(shape, load)
    return Cost(
        prefill=prompt + head(shape),
        decode=count * (completion + logits),
        policy=passes * (prompt + count * completion) + 4 * count * logits,
    )


def necessary(shape: Shape, load: Load) -> Cost:
    """Return a group's cost without any recomputation, of a step that samples and then updates."""
    shared = ours(shape, load, checkpointing=False)
    # of the four passes of the logits, that which is made again for the backward pass
    recomputed = load.generations * load.completion * head(shape)
    return Cost(shared.prefill, shared.decode, shared.policy - recomputed)


def saved_bytes(shape: Shape, load: Load) -> float:
    """Return about how many bytes of float32 a group's forward pass saves for its backward pass.

    For each token and layer: what both norms, the attention and the gated MLP read and put out. For
    each patch and block of the vision tower likewise.
    """
    kv = shape.kv_heads * shape.head_size
    token = shape.layers * (7 * shape.hidden + 3 * kv + 4 * shape.inner)
    patch = shape.vision_depth * (8 * shape.vision_size + 2 * shape.vision_inner)
    tokens = load.prompt + load.generations * load.completion
    return 4.0 * (tokens * token + 4 * load.pictures * load.picture * patch)
