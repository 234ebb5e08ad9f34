"""Micro-batches: which groups pass the model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fakes.bigram import CONFIG, run, with_train
from fakes.folders import FAKES
from safetensors.torch import load_file

from vrft import config
from vrft.objectives import micro_batches
from vrft.objectives.micro_batches import by_tokens, passes
from vrft.runs.run_log import read_metrics
from vrft.training import train
from vrft.training.collect import collect

TOKENS = [20, 8, 20, 40, 10]


def test_without_a_budget_groups_go_in_their_order_as_many_as_a_device_holds() -> None:
    made = run(with_train(CONFIG, per_device_train_batch_size=2, gradient_accumulation_steps=3))
    batch = collect(made)
    assert passes(made, batch, [4, 0, 2]) == [([4, 0], 1.0), ([2], 1.0)]
    assert passes(made, batch, []) == []


def test_a_device_with_fewer_micro_batches_makes_passes_of_weight_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the group whose longest completion is shortest: it costs least."""
    made = run(CONFIG)
    batch = collect(made)
    monkeypatch.setattr(micro_batches.exchange, "max_over_ranks", lambda *_: 3)
    cheapest = min(range(6), key=lambda row: float(batch.lengths[row].max()))
    assert passes(made, batch, [1, 5]) == [([1, 5], 1.0)] + [([cheapest], 0.0)] * 2


@pytest.mark.parametrize(
    ("rows", "budget", "expected"),
    [
        # the longest first: 40 + 10, 20 + 20 + 8
        ([0, 1, 2, 3, 4], 50, [[3, 4], [0, 2, 1]]),
        # two tokens less and the short ones change places: 40 + 8 = 48, 20 + 20, 10 goes third
        ([0, 1, 2, 3, 4], 48, [[3, 1], [0, 2], [4]]),
        # everything at once: 98 in all
        ([0, 1, 2, 3, 4], 98, [[3, 0, 2, 4, 1]]),
        # groups over the budget go alone
        ([3, 4, 1], 9, [[3], [4], [1]]),
        # only what is asked for
        ([1, 4], 100, [[4, 1]]),
        ([], 100, []),
    ],
)
def test_groups_are_packed_from_the_longest_to_the_shortest_where_there_is_room(
    rows: list[int], budget: int, expected: list[list[int]]
) -> None:
    assert by_tokens(rows, TOKENS, budget) == expected


@pytest.mark.slow
def test_the_update_does_not_depend_on_the_budget(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and reference log-probabilities, too, go back to the groups that they are of."""
    together: set[int] = set()

    def watch(rows: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
        found = by_tokens(rows, tokens, budget)
        together.update(map(len, found))
        return found

    monkeypatch.setattr(micro_batches, "by_tokens", watch)
    made = {
        budget: train.train(
            config.load(
                None,
                [
                    "algorithm=grpo",
                    f"task={FAKES / 'mixed_task.py'}",
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
