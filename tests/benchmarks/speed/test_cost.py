"""benchmarks/speed/cost.py: closed forms for operations, against torch's counter and the counts."""

from __future__ import annotations

import pytest
from fakes.race import SETTING, SMALL

from benchmarks.speed import cost, counters
from benchmarks.speed.cost import Load
from benchmarks.speed.race import Race
from benchmarks.speed.shapes import SHAPES


def test_the_cost_model_knows_the_published_shape() -> None:
    # FlopCounterMode on a Qwen2-VL-2B without weights: 6.16 GFLOP per image token at 400 tokens,
    # 2.6204 per token of the decoder, 0.4667 for the head, 172,032 per query and key.
    shape = SHAPES["2b"]
    assert cost.vision(shape, 400) / 400 / 1e9 == pytest.approx(6.16, abs=0.01)
    assert cost.per_token(shape) / 1e9 == pytest.approx(2.6204, abs=1e-4)
    assert cost.head(shape) / 1e9 == pytest.approx(0.4667, abs=1e-4)
    assert cost.per_pair(shape) == 172032


def test_the_ratio_of_policy_passes_tends_to_the_group_size_with_long_prompts() -> None:
    ratios = []
    for prompt in (100, 10_000, 1_000_000):
        load = Load(prompt, 0, 0, completion=1, generations=8)
        theirs = cost.theirs(SHAPES["2b"], load, checkpointing=False)
        ours = cost.ours(SHAPES["2b"], load, checkpointing=False)
        ratios.append(theirs.policy / ours.policy)
    assert ratios == sorted(ratios) and 7.99 < ratios[-1] < 8


def test_checkpointing_adds_a_forward_pass_and_necessary_has_no_recomputation() -> None:
    load = Load(10, 4, 1, completion=5, generations=2)
    kept = cost.ours(SMALL, load, checkpointing=False)
    checkpointed = cost.ours(SMALL, load, checkpointing=True)
    logits = 2 * 5 * cost.head(SMALL)
    # three passes of everything, and a fourth of the logits
    forward = (kept.policy - 4 * logits) / 3
    assert checkpointed.policy - kept.policy == pytest.approx(forward)
    assert kept.policy - cost.necessary(SMALL, load).policy == pytest.approx(logits)


def test_the_cost_model_counts_the_tokens_that_were_counted(small_race: Race) -> None:
    # the model's rollout less attention and vision tower: tokens, each over all layers, and logits
    load = Load(small_race.prompt, 12, 1, completion=6, generations=4)
    for side, model in (("theirs", cost.theirs), ("ours", cost.ours)):
        work = model(SMALL, load, checkpointing=False)
        prompts = SETTING.prompts if side == "ours" else SETTING.prompts * 4
        pairs = cost.per_pair(SMALL) * (
            prompts * small_race.prompt**2 / 2 + 8 * (6 * small_race.prompt + 6**2 / 2)
        )
        pictures = prompts * cost.vision(SMALL, 12)
        modelled = SETTING.prompts * (work.prefill + work.decode) - pairs - pictures
        counts = small_race.counts[side]
        # The model has the last token of each of the 8 completions pass as well, and a row of
        # logits after it: one more than there are.
        tokens = counts[f"rollout: {counters.TOKENS}"] + 8
        logits = counts[f"rollout: {counters.LOGITS}"] + 8
        assert modelled == pytest.approx(tokens * cost.per_token(SMALL) + logits * cost.head(SMALL))
