"""The policy: what the trainer and the evaluator know of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vrft import models
from vrft.config.schema import ModelConfig, SamplingConfig
from vrft.models import encoding
from vrft.models.encoding import Encoded
from vrft.policy import sampling as rollout
from vrft.policy.logprobs import GroupLogps
from vrft.types import Completion, Prompt, Rollout, View


class Policy(Protocol):
    """pi(o | q): samples completions of prompts, and tells their log-probabilities.

    ``module`` is what is trained and what accelerate wraps; its forward is ``logps``.
    """

    module: nn.Module

    def encode(self, prompts: Sequence[Prompt], max_length: int | None = None) -> list[Any]:
        """Prompts as the model reads them; each may be used for sampling and log-probs."""
        ...

    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """G rollouts of each prompt; one seed per prompt makes them repeatable."""
        ...

    def logps(
        self, encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Per-token log-probabilities [B, G, C] with gradients, 0 beyond each rollout's end."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Encode and sample in one call."""
        ...

    def length(self, encoded: Any) -> int:
        """Tokens of a prompt, image tokens included."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a folder that ``load`` reads; ``weights`` are those of ``module``, gathered."""
        ...


class ModelPolicy:
    """A policy over a Qwen-VL or text-only Qwen model."""

    def __init__(self, loaded: models.LoadedModel) -> None:
        self.loaded = loaded
        self.module: nn.Module = GroupLogps(loaded)

    def encode(self, prompts: Sequence[Prompt], max_length: int | None = None) -> list[Encoded]:
        """Prompts with their pictures opened; UserError for one over ``max_length`` tokens."""
        return [encoding.encode(self.loaded, prompt, max_length) for prompt in prompts]

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """G rollouts of each prompt, the model in evaluation mode meanwhile."""
        training = self.loaded.model.training
        self.loaded.model.eval()
        tokens = rollout.sample(self.loaded, encoded, num_generations, sampling, seeds)
        self.loaded.model.train(training)
        return [
            tuple(self.rollout(row, prompt.views) for row in group)
            for prompt, group in zip(encoded, tokens, strict=True)
        ]

    def rollout(self, tokens: Sequence[int], views: tuple[View, ...]) -> Rollout:
        """Token ids as a completion: its text has no special tokens."""
        text = self.loaded.tokenizer.decode(list(tokens), skip_special_tokens=True)
        finished = tokens[-1] in self.loaded.end_ids
        return Rollout(Completion(str(text), views, len(tokens)), tuple(tokens), finished)

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Log-probabilities [B, G, C] through the (possibly wrapped) module."""
        tokens = [[rollout.tokens for rollout in group] for group in groups]
        out: Tensor = self.module(encoded, tokens, temperature)
        return out

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Encode and sample in one call; temperature 0 is greedy."""
        encoded = self.encode(prompts, sampling.max_prompt_length)
        return self.sample(encoded, num_generations, sampling, seeds)

    def length(self, encoded: Encoded) -> int:
        """Tokens of a prompt, image tokens included."""
        return len(encoded.tokens)

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a folder that ``load``, plain transformers and peft read.

        ``weights`` are those of ``module``, gathered where devices hold only parts of them.
        """
        models.save_model(
            self.loaded, folder, None if weights is None else below(weights, "model.")
        )

    def views(self, prompt: Prompt) -> tuple[View, ...]:
        """What the model sees of each of the prompt's pictures."""
        return encoding.encode(self.loaded, prompt).views

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt, image tokens included."""
        return [self.length(encoding.encode(self.loaded, prompt)) for prompt in prompts]


def below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


class AdapterOff(ModelPolicy):
    """The policy that a LoRA adapter is trained on: the same weights without the adapter."""

    def __init__(self, trained: ModelPolicy) -> None:
        self.loaded, self.module = trained.loaded, trained.module
        self.trained = trained

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Log-probabilities [B, G, C] of the model below the adapter."""
        adapter = self.loaded.adapter
        assert adapter is not None
        with adapter.disable_adapter():
            return self.trained.logps(encoded, groups, temperature)


def reference(trained: ModelPolicy, config: ModelConfig, device: str) -> ModelPolicy:
    """The policy as it was before training: no copy under LoRA, else a frozen one."""
    if trained.loaded.adapter:
        return AdapterOff(trained)
    return load(config, device=device)


def load(config: ModelConfig, *, train: bool = False, device: str = "auto") -> ModelPolicy:
    """The policy of a model's name, all of it frozen unless it is to ``train``."""
    loaded = models.load_model(config, train=train, device=device)
    if not train:
        loaded.model.requires_grad_(False)
    return ModelPolicy(loaded)
