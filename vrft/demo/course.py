"""Courses: how an embedded model is made, by its size, its vocabulary and its lessons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Widths and depths of the two towers, named as in transformers' configurations.

    ``hidden_size`` is 32 per head of the language model: the rotary settings of
    ``vrft.demo.tiny`` are made for heads of that width.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    # The vision tower; without pictures these three are not used.
    vision_size: int
    vision_depth: int
    vision_heads: int


@dataclass(frozen=True)
class Vocabulary:
    """Texts whose words become tokens, spelt and spaced as in prompts and answers.

    With ``numbers`` the multiples of 20 up to 1000 are single tokens; without, every number is
    written digit by digit.
    """

    # A tuple, so that a vocabulary can be hashed: tokenizers are cached by it.
    texts: tuple[str, ...]
    numbers: bool = True


@dataclass(frozen=True)
class Stage:
    """A stage of supervised lessons on ``rows`` samples of the demo's kind of data.

    With probability ``carelessness`` an answer is that of the annotator's bad habit instead of the
    right one. ``settings`` are ``key.path=value`` laid over the task's demo configuration.
    """

    name: str
    rows: int
    carelessness: float
    epochs: float = 1
    learning_rate: float = 1e-3
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """Random weights of a size: a Qwen2-VL, or a plain Qwen2 if the task is ``text_only``."""

    size: Size
    vocabulary: Vocabulary
    text_only: bool = False


@dataclass(frozen=True)
class Course:
    """Lessons of an embedded model, stage by stage.

    A course without a ``start`` goes on from the embedded grounding model ``demo``, which already
    recognises and locates the objects that the demos draw.
    """

    stages: tuple[Stage, ...]
    start: Start | None = None
