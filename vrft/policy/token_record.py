"""The log-probabilities of tokens as they are drawn, and the entropies of their distributions."""

from __future__ import annotations

import torch
from torch import Tensor


class TokenRecord:
    """The record of a rollout of N rows and at most C tokens, for the log of completions alone.

    ``logps`` and ``entropies`` [N, C] are those of the distributions that tokens were drawn from:
    without tokens that are never sampled, at the temperature, within top_k and top_p. Values
    behind the end of a row mean nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.logps = self.entropies = torch.zeros(0, limit)

    def note(
        self, active: Tensor, step: int, logits: Tensor, probabilities: Tensor, tokens: Tensor
    ) -> None:
        """Record the tokens [n] that were drawn for the rows ``active`` [n].

        ``probabilities`` [n, V] are the softmax of ``logits``, of which banned ones are -inf.
        """
        if step == 0:  # all N rows are active
            self.logps = torch.zeros(len(active), self.limit, device=logits.device)
            self.entropies = torch.zeros_like(self.logps)
        chosen = tokens.unsqueeze(1)
        logps = probabilities.gather(-1, chosen).log()
        # H = -sum p (l - z) = z - sum p l with z = log sum exp(l), which is l - log p of any token:
        # one product in the place of a logarithm of every probability. 0 * -inf would be NaN.
        finite = logits.clamp(min=torch.finfo(logits.dtype).min)
        entropies = logits.gather(-1, chosen) - logps
        self.entropies[active, step] = entropies[:, 0] - torch.linalg.vecdot(probabilities, finite)
        self.logps[active, step] = logps[:, 0]

    def of(self, lengths: list[int]) -> list[tuple[tuple[float, ...], float]]:
        """Return each row's log-probabilities and its mean entropy in nats, by the rows' lengths.

        The values are read from the device once for all rows.
        """
        logps, entropies = self.logps.tolist(), self.entropies.tolist()
        return [
            (tuple(logps[row][:length]), sum(entropies[row][:length]) / max(1, length))
            for row, length in enumerate(lengths)
        ]
