"""Log-probabilities of given completions by the decoding that samples, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vrft.models.encoding import Encoded, collate
from vrft.models.loaded import LoadedModel
from vrft.policy.decode_step import Decoding, strategy_for


@torch.no_grad()
def decoding_logps(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    length: int,
    *,
    graphs: bool = True,
) -> Tensor:
    """Return the log-probabilities [B, G, C] of completions of B prompts, as decoding makes them.

    ``completions`` are the token ids of G rows of each prompt; their first ``length`` tokens are
    decoded, C at most, and values behind a completion's end mean nothing. Logits are divided by
    ``temperature`` (> 0), and no token is banned: the trainer's distribution, by the sampler's way.
    """
    rows = [list(row) for group in completions for row in group]
    size = min(length, max(map(len, rows)))
    # Behind its end a row goes on with its last token, and nobody reads what is predicted there.
    filled = [(row + [row[-1]] * size)[:size] for row in rows]
    tokens_NC = torch.tensor(filled, device=loaded.device)
    strategy = strategy_for(loaded, graphs=graphs)
    training = loaded.model.training
    loaded.model.eval()
    logps: list[Tensor] = []
    with strategy.prepare(loaded.model) as products:
        batch = collate(prompts, loaded.device)
        decoding = Decoding(loaded, batch, len(completions[0]), strategy, products)
        for place in range(size):
            tokens = tokens_NC[:, place]
            by_token = (decoding.logits.float() / temperature).log_softmax(-1)  # [N, V]
            logps.append(by_token.gather(1, tokens.unsqueeze(1)).squeeze(1))
            if place + 1 < size:
                decoding.advance(tokens)
    loaded.model.train(training)
    logps_BGC: Tensor = torch.stack(logps, 1).unflatten(0, (len(prompts), -1)).cpu()
    return logps_BGC
