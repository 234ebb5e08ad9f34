"""The shuffled stream: the same samples and seeds on any number of devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fakes.bigram import CONFIG, run, take_step, with_train

from vrft.training.stream import next_prompts, rollout_seed, shuffled_index
from vrft.training.types import Drawn, Progress


def test_every_sample_is_drawn_once_an_epoch_in_another_order() -> None:
    made = run(with_train(CONFIG, learning_rate=0.0))
    epochs = [[take_step(made)[1] for _ in range(4)] for _ in range(2)]
    drawn = [[row["sample_id"] for rows in epoch for row in rows[::4]] for epoch in epochs]
    everything = [sample.id for sample in made.samples]
    assert sorted(drawn[0]) == sorted(drawn[1]) == sorted(everything)
    assert drawn[0] != drawn[1]


def test_the_stream_is_the_same_on_any_number_of_devices() -> None:
    class Rank:
        """An accelerator of two processes."""

        def __init__(self, index: int) -> None:
            self.process_index, self.num_processes = index, 2

    made = run(CONFIG)
    alone = next_prompts(made)
    halves: list[Drawn] = []
    for index in range(2):
        rank: Any = Rank(index)
        halves += next_prompts(
            replace(
                made,
                accelerator=rank,
                progress=Progress(),
                config=with_train(CONFIG, per_device_train_batch_size=3),
            )
        )
    assert halves == alone


def test_a_place_beyond_the_first_epoch_is_in_a_fresh_permutation() -> None:
    epochs = [[shuffled_index(7, 3, 7 * epoch + i) for i in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_seed_of_a_rollout_depends_on_the_run_and_the_place_alone() -> None:
    assert rollout_seed(1, 5) == rollout_seed(1, 5)
    assert len({rollout_seed(seed, place) for seed in (1, 2) for place in range(50)}) == 100
