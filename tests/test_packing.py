"""Micro-batches: which groups pass the model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vrft import config, packing, train
from vrft.log import read_metrics
from vrft.packing import Size, by_prompts, by_tokens

# Rows of 2 completions each; in their packed rows 10 + 2 * 5 = 20, 4 + 2 * 2 = 8,
# 4 + 2 * 8 = 20, 20 + 2 * 10 = 40 and 4 + 2 * 3 = 10 tokens.
SIZES = [Size(10, 5, 2), Size(4, 2, 2), Size(4, 8, 2), Size(20, 10, 2), Size(4, 3, 2)]


def test_prompts_are_taken_in_their_order() -> None:
    assert by_prompts([4, 0, 2], 2) == [[4, 0], [2]]
    assert by_prompts([], 2) == []


@pytest.mark.parametrize(
    ("rows", "budget", "expected"),
    [
        # the longest first; rows 0 and 2 pad to 10 + 2 * 8 = 26, so both need 52
        ([0, 1, 2, 3, 4], 52, [[3], [0, 2], [4, 1]]),
        # one token less and they part; 2 and 4 then pad to 20 each, 2, 4 and 1 to 60 in all
        ([0, 1, 2, 3, 4], 51, [[3], [0], [2, 4], [1]]),
        # everything at once: 5 * 40
        ([0, 1, 2, 3, 4], 200, [[3, 0, 2, 4, 1]]),
        # groups over the budget go alone
        ([3, 4, 1], 9, [[3], [4], [1]]),
        # only what is asked for
        ([1, 4], 100, [[4, 1]]),
        ([], 100, []),
    ],
)
def test_groups_are_packed_from_the_longest_to_the_shortest_within_the_budget(
    rows: list[int], budget: int, expected: list[list[int]]
) -> None:
    assert by_tokens(rows, SIZES, budget) == expected


@pytest.mark.slow
def test_the_update_does_not_depend_on_the_budget(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and reference log-probabilities, too, go back to the groups that they are of."""
    together: set[int] = set()

    def watch(rows: Sequence[int], sizes: Sequence[Size], budget: int) -> list[list[int]]:
        found = by_tokens(rows, sizes, budget)
        together.update(map(len, found))
        return found

    monkeypatch.setattr(packing, "by_tokens", watch)
    made = {
        budget: train.train(
            config.load(
                None,
                [
                    "algorithm=grpo",
                    f"task={Path(__file__).parent / 'mixed_task.py'}",
                    f"model={model_folder('qwen2_vl')}",
                    "algorithm.num_generations=2",
                    "algorithm.num_iterations=2",
                    "sampling.max_completion_length=5",
                    "train.per_device_train_batch_size=6",
                    f"train.max_tokens_per_micro_batch={budget}",
                    "train.max_steps=2",
                    "train.learning_rate=1e-3",
                    "train.adam_epsilon=1e-3",
                    f"train.output_dir={tmp_path / str(budget)}",
                ],
            )
        )
        for budget in (0, 1, 120)  # all six groups at once, each alone, as many as fit
    }
    weights = {n: load_file(run / "final" / "model.safetensors") for n, run in made.items()}
    norms = {n: [row["grad_norm"] for row in read_metrics(run / "metrics.jsonl")]
             for n, run in made.items()}  # fmt: skip
    assert {1, 2} <= together  # the budget does cut
    start = load_file(model_folder("qwen2_vl") / "model.safetensors")
    moved = sum(float((weights[0][k] - start[k]).square().sum()) for k in start) ** 0.5
    for budget in (1, 120):
        apart = sum(float((weights[0][k] - weights[budget][k]).square().sum()) for k in start)
        assert apart**0.5 < 1e-5 * moved
        assert norms[budget] == pytest.approx(norms[0], 1e-5)
