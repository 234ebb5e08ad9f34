"""How an embedded model comes to be: its size, its vocabulary, and the lessons it is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Widths and depths of the two towers; heads of the language model are 32 wide."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vision_size: int
    vision_depth: int
    vision_heads: int


@dataclass(frozen=True)
class Vocabulary:
    """Texts whose words become tokens, written as in prompts and answers (spaces included).

    With ``numbers`` the multiples of 20 up to 1000 are single tokens; else all are digit by digit.
    """

    texts: tuple[str, ...]
    numbers: bool = True


@dataclass(frozen=True)
class Stage:
    """A round of supervised lessons: rows of the demo's data by an annotator with a bad habit.

    With probability ``carelessness`` an answer is the habit's, not the right one. ``settings`` are
    ``key.path=value`` laid over the task's demo configuration.
    """

    name: str
    rows: int
    carelessness: float
    epochs: float = 1
    learning_rate: float = 1e-3
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """Random weights of a size; without pictures (``text_only``) it is a plain Qwen2."""

    size: Size
    vocabulary: Vocabulary
    text_only: bool = False


@dataclass(frozen=True)
class Course:
    """All lessons of a model, from ``start``: random weights, or the embedded model ``demo``."""

    stages: tuple[Stage, ...]
    start: Start | None = None
