"""The arms of the study and the claims about them, in one table each.

Every arm takes the bed's prompts a step, and eight completions each, except where an arm is about
exactly that; DAPO and beta_th draw further prompts in place of those that teach nothing. The order
of CLAIMS is the order in which the study spends its time.
"""

from __future__ import annotations

from dataclasses import dataclass

START = "start"
"""The untrained model, in place of an arm that a claim compares with."""


@dataclass(frozen=True)
class Arm:
    """A way of training: ``key.path=value`` settings over the bed's. ``supervised`` ones have rates
    of their own kind, as one step of theirs moves a model further."""

    name: str
    settings: tuple[str, ...]
    supervised: bool = False


@dataclass(frozen=True)
class Claim:
    """A statement that ``better`` ends above ``worse``, judged by ``seeds`` common seeds.

    A claim that is not ``strict`` says "not below": it is met by equality too. ``source`` is where
    it stands, ``words`` say it in a sentence. ``equal_prompts`` says that equal sampling means the
    same number of prompts, as the size of their groups is the question.
    """

    worse: str
    better: str
    source: str
    words: str
    seeds: int = 8
    strict: bool = True
    equal_prompts: bool = False

    @property
    def text(self) -> str:
        """Return the claim in symbols, such as "sft < grpo"."""
        return f"{self.worse} {'<' if self.strict else '<='} {self.better}"


# No division by the deviation, corrected by alpha: what the paper's later versions call GPG.
GPG = ("algorithm=gpg", "algorithm.f_norm=none", "algorithm.alpha=true")
# Eq. 5 and 6 of the first version.
GPG_V1 = ("algorithm=gpg", "algorithm.f_norm=group_std", "algorithm.alpha=false")

TABLE = (
    Arm("sft", ("algorithm=sft",), supervised=True),
    Arm("grpo", ("algorithm=grpo",)),
    Arm("gpg", GPG),
    Arm("gpg, no alpha", (*GPG, "algorithm.alpha=false")),
    Arm("gpg, deviation", GPG_V1),
    Arm("gpg, deviation, alpha", (*GPG_V1, "algorithm.alpha=true")),
    Arm("gpg, beta_th 0.6", (*GPG, "algorithm.min_informative=0.6")),
    Arm("gpg, batch deviation", (*GPG_V1, "algorithm.f_norm=batch_std")),
    Arm("gpg, deviation, KL 0.04", (*GPG_V1, "algorithm.beta=0.04")),
    *(Arm(f"gpg, G {size}", (*GPG, f"algorithm.num_generations={size}")) for size in (2, 4, 16)),
    *(
        Arm(name, (f"algorithm={name}",))
        for name in ("dr_grpo", "dapo", "rloo", "reinforce_pp", "ppo")
    ),
    # Its greedy completion is one of the eight.
    Arm("remax", ("algorithm=remax", "algorithm.num_generations=7")),
)

ARMS = {arm.name: arm for arm in TABLE}

CLAIMS = (
    Claim(START, "sft", "tables 5 to 8", "Fine-tuning on right answers improves the start"),
    Claim("sft", "grpo", "tables 5 to 8", "GRPO ends above fine-tuning"),
    Claim("grpo", "gpg", "tables 3 and 5 to 8", "GPG ends no lower than GRPO", strict=False),
    Claim(
        "gpg, no alpha", "gpg", "later versions: 43.9, with alpha 47.8",
        "Alpha, the correction for groups that teach nothing, helps",
    ),
    Claim(
        "gpg, deviation, alpha", "gpg", "later versions: 44.1, without deviation 47.8",
        "With alpha, dividing by the group's deviation harms",
    ),
    Claim(
        "gpg, G 4", "gpg", "table 9", "Eight completions of a prompt are better than four",
        equal_prompts=True,
    ),
    Claim(
        "gpg, G 2", "gpg, G 4", "table 9", "Four completions of a prompt are better than two",
        equal_prompts=True,
    ),
    Claim(
        "gpg", "gpg, G 16", "table 9", "Sixteen completions of a prompt are no worse than eight",
        strict=False, equal_prompts=True,
    ),
    Claim(
        "gpg, deviation, KL 0.04", "gpg, deviation", "table 10",
        "A penalty on the KL divergence from the start harms",
    ),
    Claim(
        "gpg, no alpha", "gpg, deviation", "later versions: 43.9, with deviation 45.3",
        "Without alpha, dividing by the group's deviation helps",
    ),
    Claim(
        "gpg, deviation, alpha", "gpg, deviation", "later versions: 44.1, without alpha 45.3",
        "With the deviation, alpha harms",
    ),
    Claim(
        "gpg", "gpg, beta_th 0.6", "later versions: 47.8, with beta_th 48.3",
        "Sampling on until six groups of ten teach something (beta_th) helps",
    ),
    Claim(
        "gpg, batch deviation", "gpg, deviation", "table 10",
        "The group's deviation is better than the batch's",
    ),
    Claim("dr_grpo", "gpg", "table 3", "GPG ends above Dr. GRPO"),
    *(
        Claim(
            name, "gpg", "not compared in the paper", f"GPG ends no lower than {title}",
            strict=False,
        )
        for name, title in (
            ("dapo", "DAPO"),
            ("rloo", "RLOO"),
            ("reinforce_pp", "REINFORCE++"),
            ("remax", "ReMax"),
            ("ppo", "PPO"),
        )
    ),
)  # fmt: skip


def seeds_of(arm: str) -> int:
    """Return how many seeds an arm needs: the most that any claim about it asks for."""
    return max(claim.seeds for claim in CLAIMS if arm in (claim.worse, claim.better))
