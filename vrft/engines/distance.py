"""The distance of another engine's log-probabilities from the model's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.policy.sampling import logits_processors
from vrft.types import Rollout


def logprob_differences(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    groups: Sequence[Sequence[Rollout]],
    sampling: SamplingConfig,
) -> Tensor:
    """Return the first of the two ``distances``, the engine's: [N]."""
    return distances(loaded, encoded, groups, sampling)[0]


@torch.no_grad()
def distances(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    groups: Sequence[Sequence[Rollout]],
    sampling: SamplingConfig,
) -> tuple[Tensor, Tensor]:
    """Return how far an engine's log-probabilities are from the model's own, token by token: [N].

    The model's are computed for the distribution that is sampled from: without the tokens that are
    never sampled, at the temperature, within top_k and top_p. Equal weights differ by rounding
    only, so a greater difference tells of old weights, old caches or other pictures.

    The second tensor [N] is -log(1 - p), p being the probability of all tokens that are never
    sampled. The loss keeps them in its distribution: its log-probability of the same token is lower
    by this.
    """
    tokens = [[rollout.tokens for rollout in group] for group in groups]
    training = loaded.model.training
    loaded.model.eval()  # or LoRA's dropout would make the model another one
    hidden, targets, _ = GroupLogps(loaded).predictions(encoded, tokens)  # [N, D], [N]
    loaded.model.train(training)
    banned = torch.tensor(loaded.banned_ids, device=targets.device)
    logits, temperature = loaded.head(hidden).float(), sampling.temperature or 1.0
    all_tokens = (logits / temperature).logsumexp(-1)
    logits.index_fill_(1, banned, -torch.inf)
    ban = all_tokens - (logits / temperature).logsumexp(-1)
    texts = preceding(encoded, tokens).to(targets.device)
    logits = logits_processors(sampling)(texts, logits)  # type: ignore[arg-type]
    own = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    sampled = torch.tensor([p for group in groups for r in group for p in r.logprobs or ()])
    return (own.cpu() - sampled).abs(), ban.cpu()


def preceding(encoded: Sequence[Encoded], groups: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Return the tokens before each completion token, which a repetition penalty reads: [N, P + C].

    Shorter ones are filled up with their first token, which is repeated already.
    """
    texts = [
        torch.cat([prompt.tokens, torch.tensor(row[:place], dtype=torch.long)])
        for prompt, rows in zip(encoded, groups, strict=True)
        for row in rows
        for place in range(len(row))
    ]
    longest = max(map(len, texts))
    return torch.stack([torch.cat([text[:1].expand(longest - len(text)), text]) for text in texts])
