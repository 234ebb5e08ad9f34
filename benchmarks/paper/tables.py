"""The paper's tables as data: plans, arms and claims of every study, by the name of its table.

Arms that several tables share are trained once.
"""

from __future__ import annotations

from itertools import pairwise

from benchmarks.paper.study import Arm, Claim, Plan, Study

# So few steps that the best arms do not all reach the ceiling: the embedded model needs few to
# drop its habit in sums.
MATH = Plan("math", "demo_math", 8, (0.125, 0.25, 0.5, 1.0))
CLASSIFICATION = Plan("fewshot_classification", "demo_fewshot_classification", 50)
GEOQA = Plan("geoqa", "demo_geoqa", 40)
SPATIAL = Plan("spatial", "demo_spatial", 40)
GROUNDING = Plan("lisa_grounding", "demo_grounding", 60)

# as the demo configurations have it: no division by the deviation, corrected by alpha
GPG = Arm("gpg", ("algorithm=gpg",))
GRPO = Arm("grpo", ("algorithm=grpo",))

# Eq. 5 and 6 of the paper's first version
VERSION_1 = ("algorithm.f_norm=group_std", "algorithm.alpha=false")
GPG_V1 = Arm("gpg v1", VERSION_1)


# Table 3

METHODS = (
    GPG,
    GPG_V1,
    GRPO,
    *(
        Arm(name, (f"algorithm={name}",))
        for name in ("dr_grpo", "dapo", "rloo", "reinforce_pp", "ppo")
    ),
    # its greedy completion counts as one of the eight
    Arm("remax", ("algorithm=remax", "algorithm.num_generations=7")),
)
METHOD_CLAIMS = tuple(Claim("gpg", name) for name in ("gpg v1", "grpo", "dr_grpo"))
METHOD_TEXT = (
    "Every method has the defaults of its paper and its own best learning rate. Every step draws "
    "the same number of completions, except that DAPO draws again for groups without signal, "
    "which the column of epochs shows."
)

TABLE_3 = (
    Study(
        "table3_math",
        MATH,
        METHODS,
        METHOD_CLAIMS,
        title="Table 3: methods, on sums",
        text="Table 3 of the paper compares GRPO, Dr. GRPO and GPG with Qwen2.5-Math-7B; a later "
        "one has GPG without dividing by the deviation, and with alpha (`gpg` here). "
        + METHOD_TEXT,
    ),
    Study(
        "table3_visual",
        CLASSIFICATION,
        METHODS,
        METHOD_CLAIMS,
        title="Table 3: methods, on photographs",
        text="The same arms on the demo of few-shot classification. " + METHOD_TEXT,
    ),
)


# Tables 5 to 8

TABLE_5 = tuple(
    Study(
        f"table5_{plan.task}",
        plan,
        (GPG, GRPO, Arm("sft", ("algorithm=sft",))),
        (Claim("gpg", "grpo"), Claim("gpg", "sft")),
        title=f"Tables 5 to 8: the demo of {plan.task}",
        text="SFT takes as many steps of as many questions as GPG, with one answer to each.",
    )
    for plan in (CLASSIFICATION, GEOQA, SPATIAL, GROUNDING)
)


# Table 9: the arm `gpg` is the one with the demo's own 16 prompts and groups of 8


def grouped(size: int, prompts: int) -> Arm:
    """Return GPG with groups of ``size`` completions and ``prompts`` prompts a step."""
    settings = (
        f"algorithm.num_generations={size}",
        f"train.per_device_train_batch_size={prompts}",
    )
    return Arm(f"gpg, G {size}, {prompts} prompts", ("algorithm=gpg", *settings))


EQUAL_PROMPTS = (grouped(2, 16), grouped(4, 16), GPG, grouped(16, 16))
EQUAL_COMPLETIONS = (grouped(2, 64), grouped(4, 32), grouped(16, 8))

TABLE_9 = Study(
    "table9",
    MATH,
    (*EQUAL_PROMPTS, *EQUAL_COMPLETIONS),
    tuple(Claim(large.name, small.name) for small, large in pairwise(EQUAL_PROMPTS)),
    title="Table 9: group size",
    text=(
        "Table 9 of the paper: the larger the group, the better. Larger groups sample more; the "
        "arms of 128 completions a step have fewer or more prompts instead. `gpg` has 16 prompts "
        "and G = 8. Here: sums."
    ),
)


# Table 10 and the later table of GPG

TABLE_10 = Study(
    "table10",
    MATH,
    (
        GPG_V1,
        # divided by the deviation of all rewards of a step
        Arm("gpg v1, batch", ("algorithm.f_norm=batch_std", "algorithm.alpha=false")),
        Arm("gpg v1 + KL 0.04", (*VERSION_1, "algorithm.beta=0.04")),
        Arm("gpg without alpha", ("algorithm.f_norm=none", "algorithm.alpha=false")),
        GPG,
        # beta_th: sampled again until this share of the groups has signal
        Arm("gpg + beta_th 0.6", ("algorithm=gpg", "algorithm.min_informative=0.6")),
    ),
    (
        Claim("gpg v1", "gpg v1, batch"),
        Claim("gpg v1", "gpg v1 + KL 0.04"),
        Claim("gpg", "gpg v1"),
        Claim("gpg", "gpg without alpha"),
        Claim("gpg + beta_th 0.6", "gpg"),
    ),
    title="Table 10: normalisation and KL",
    text=(
        "Table 10 of the paper divides rewards by the deviation of the group (`gpg v1`) or of the "
        "batch, and adds a KL penalty; a later table divides by nothing, corrects with alpha "
        "(`gpg`), and samples again (beta_th). Here: sums."
    ),
)

# the order of the sections in RESULTS.md
STUDIES: dict[str, tuple[Study, ...]] = {
    "table3": TABLE_3,
    "table9": (TABLE_9,),
    "table10": (TABLE_10,),
    "table5": TABLE_5,
}

TITLES = {
    "table3": "the methods against each other, on sums and on photographs",
    "table5": "tables 5 to 8: untrained, SFT, GRPO and GPG on the paper's four visual tasks",
    "table9": "the size of the group, at equal prompts and at equal completions",
    "table10": "how rewards are normalised, and a KL penalty",
}
"""Each table's line in the help text of the command."""
