"""The policy: everything that the trainer and the evaluator know of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vrft import models
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.models import encoding
from vrft.models.encoding import Encoded
from vrft.policy import sampling as decoding
from vrft.policy.logprobs import GroupLogps
from vrft.policy.token_record import TokenRecord
from vrft.types import Completion, Prompt, Rollout


class Generator(Protocol):
    """A sampler of completions, which is all that an evaluation needs of a model."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return G rollouts of each prompt; one seed per prompt makes them repeatable."""
        ...


class Policy(Generator, Protocol):
    """A policy pi(o | q) that can be trained: completions of prompts, and their log-probabilities.

    ``module`` holds the weights, and is what accelerate wraps; its forward is ``logps``.
    """

    module: nn.Module

    def encode(self, prompts: Sequence[Prompt], max_length: int | None = None) -> list[Any]:
        """Encode prompts for sampling and log-probabilities; each may be used several times."""
        ...

    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return G rollouts of each encoded prompt; one seed per prompt makes them repeatable."""
        ...

    def logps(
        self, encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Return log-probabilities [B, G, C] with gradients, 0 beyond each rollout's end."""
        ...

    def length(self, encoded: Any) -> int:
        """Return the tokens of a prompt, image tokens included."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a folder that ``load`` reads; ``weights`` are those of ``module``, gathered."""
        ...


class ModelPolicy:
    """A policy over a Qwen-VL or text-only Qwen model."""

    def __init__(self, loaded: models.LoadedModel) -> None:
        self.loaded = loaded
        self.module: nn.Module = GroupLogps(loaded)  # the trainer puts a wrapped one in its place

    def encode(self, prompts: Sequence[Prompt], max_length: int | None = None) -> list[Encoded]:
        """Encode prompts, pictures included; UserError for one over ``max_length`` tokens."""
        return [encoding.encode(self.loaded, prompt, max_length) for prompt in prompts]

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
        *,
        record: bool = False,
    ) -> list[tuple[Rollout, ...]]:
        """Sample G rollouts of each prompt; temperature 0 is greedy.

        With ``record`` they bear the probabilities that their tokens were drawn with, unless plain
        transformers samples (``model.shared_prefix=false``).
        """
        model = self.loaded.model
        training = model.training
        model.eval()  # or LoRA's dropout would make the sampler another policy
        taken = TokenRecord(sampling.max_completion_length) if record else None
        tokens = decoding.sample(
            self.loaded, encoded, num_generations, sampling, seeds, record=taken
        )
        model.train(training)
        rollouts = [
            self.rollout(row, prompt)
            for prompt, group in zip(encoded, tokens, strict=True)
            for row in group
        ]
        if taken is not None and len(taken.logps):
            known = taken.of([len(rollout.tokens) for rollout in rollouts])
            rollouts = [
                replace(rollout, drawn_logprobs=logps, entropy=entropy)
                for rollout, (logps, entropy) in zip(rollouts, known, strict=True)
            ]
        firsts = range(0, len(rollouts), num_generations)
        return [tuple(rollouts[first : first + num_generations]) for first in firsts]

    def rollout(self, tokens: Sequence[int], prompt: Encoded) -> Rollout:
        """Return token ids as a rollout of a prompt.

        Its text has no tokens that end, pad or mark it, but has an answer's tags, special tokens or
        not. It begins with the tag of thoughts that the chat template has opened in the prompt.
        """
        unwritten = self.loaded.unwritten_ids
        written = self.loaded.tokenizer.decode([t for t in tokens if t not in unwritten])
        text = f"{prompt.opened}{written}"
        # Without an end token as its last the completion was cut at the limit.
        finished = tokens[-1] in self.loaded.end_ids
        completion = Completion(text, prompt.views, len(tokens))
        return Rollout(completion, tuple(tokens), finished)

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Return log-probabilities [B, G, C] through the (possibly wrapped) module."""
        tokens = [[rollout.tokens for rollout in group] for group in groups]
        logps_BGC: Tensor = self.module(encoded, tokens, temperature)
        return logps_BGC

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Encode prompts and sample G rollouts of each; temperature 0 is greedy."""
        encoded = self.encode(prompts, sampling.max_prompt_length)
        return self.sample(encoded, num_generations, sampling, seeds)

    def length(self, encoded: Encoded) -> int:
        """Return the tokens of a prompt, image tokens included."""
        return len(encoded.tokens)

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a folder that ``load``, plain transformers and peft read.

        ``weights`` are those of ``module``, gathered where devices hold only parts of them.
        """
        if weights is not None:
            weights = strip_prefix(weights, "model.")  # as which GroupLogps holds the model
        models.save_model(self.loaded, folder, weights)


def strip_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names begin with a prefix, under their names without it."""
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


class AdapterOff(ModelPolicy):
    """The policy from which a new LoRA adapter is trained: the same weights without the adapter."""

    def __init__(self, trained: ModelPolicy) -> None:
        self.loaded, self.module = trained.loaded, trained.module
        self.trained = trained  # whose module may be wrapped later, and is the one to call

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Return the log-probabilities [B, G, C] of the model below the adapter."""
        adapter = self.loaded.adapter
        assert adapter is not None
        with adapter.disable_adapter():
            return self.trained.logps(encoded, groups, temperature)


def reference(trained: ModelPolicy, config: ModelConfig, device: str) -> ModelPolicy:
    """Return the policy as it was before training.

    It is a frozen copy, or, where a new adapter is trained, the same weights with the adapter off.
    ``config`` names the model that training began with, also where ``trained`` is a checkpoint.
    """
    if trained.loaded.adapter and not models.is_adapter(config.name):
        return AdapterOff(trained)
    return load(config, device=device)


def load(config: ModelConfig, *, train: bool = False, device: str = "auto") -> ModelPolicy:
    """Load the policy of a model's name, with all weights frozen unless it is to ``train``."""
    loaded = models.load_model(config, train=train, device=device)
    if not train:
        loaded.model.requires_grad_(False)  # so that features of its pictures are remembered
    return ModelPolicy(loaded)
