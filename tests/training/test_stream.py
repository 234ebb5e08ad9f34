"""The shuffled stream: the same samples and seeds on any number of devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.bigram import CONFIG, Echo, run, take_step, with_algorithm, with_train

from vrft.config.schema import Config
from vrft.diagnosis.difficulty import Attempt
from vrft.rollouts.rollout_rows import Drawn
from vrft.training import health, trainer_state
from vrft.training.run import Run
from vrft.training.stream import next_prompts, places, rollout_seed, shuffled_index
from vrft.training.trainer_state import Progress


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


# The curriculum

CURRICULUM = with_algorithm(
    with_train(CONFIG, per_device_train_batch_size=4), min_pass_rate=0.25, max_pass_rate=0.75
)


def known(config: Config, full: dict[str, int]) -> Run:
    """A run of eight prompts, of each of which four answers are known: so many of full reward."""
    made = run(config, Echo(count=8))
    made.ledger.add(Attempt(name, 4, float(n), n, 12, True) for name, n in full.items())
    return made


def drawn(made: Run, count: int) -> list[list[str]]:
    return [[each.sample.id for each in next_prompts(made)] for _ in range(count)]


def test_prompts_that_are_too_hard_or_too_easy_rest_after_an_epoch_of_all() -> None:
    full = {"train-0": 0, "train-1": 4, "train-2": 1, "train-3": 3}  # of 4: rates 0, 1, 0.25, 0.75
    plain = known(with_algorithm(CURRICULUM, min_pass_rate=0.0, max_pass_rate=1.0), {})
    made = known(CURRICULUM, full)
    assert drawn(made, 2) == drawn(plain, 2)  # the first epoch
    assert made.progress.cursor == 8
    every = [name for step in drawn(plain, 6) for name in step]
    without = [name for name in every if name not in ("train-0", "train-1")]
    # three epochs of the six others, in the stream's order: 18 prompts in four draws and a half
    found = [name for step in drawn(made, 5) for name in step]
    assert found[:18] == without
    # the fifth epoch has all again: the sixth draw ends in it
    assert made.progress.cursor == 34
    later = [name for step in drawn(made, 2) for name in step]
    assert {"train-0", "train-1"} & {*found[18:], *later}


def test_a_prompt_that_was_never_sampled_does_not_rest() -> None:
    made = known(CURRICULUM, {})
    assert list(places(made)) == [0, 1, 2, 3]
    made.progress.cursor = 8
    assert list(places(made, steps=1)) == [12, 13, 14, 15]


def test_where_all_prompts_rest_the_stream_goes_on_in_their_next_epoch() -> None:
    made = known(CURRICULUM, {f"train-{i}": 0 for i in range(8)})
    made.progress.cursor = 8
    assert list(places(made)) == [32, 33, 34, 35]


def test_all_devices_pass_over_the_same_prompts() -> None:
    class Rank:
        """An accelerator of two processes."""

        def __init__(self, index: int) -> None:
            self.process_index, self.num_processes = index, 2

    full = {"train-0": 0, "train-5": 4}
    alone = known(CURRICULUM, full)
    alone.progress.cursor = 8
    expected = drawn(alone, 1)[0]
    halves: list[str] = []
    for index in range(2):
        rank: Any = Rank(index)
        made = known(with_train(CURRICULUM, per_device_train_batch_size=2), full)
        made.progress.cursor = 8
        halves += drawn(replace(made, accelerator=rank), 1)[0]
        assert made.progress.cursor == alone.progress.cursor
    assert halves == expected


def test_a_run_under_a_curriculum_goes_on_as_one_that_was_never_stopped(tmp_path: Any) -> None:
    config = with_algorithm(
        with_train(CONFIG, per_device_train_batch_size=4, learning_rate=0.5),
        min_pass_rate=0.2,
        rest_epochs=2,
    )
    straight = run(config, Echo(count=8))
    seen = [[row["sample_id"] for row in take_step(straight)[1][::4]] for _ in range(12)]
    stopped = run(config, Echo(count=8))
    for _ in range(5):
        take_step(stopped)
    health.write(stopped, tmp_path)
    trainer_state.write(tmp_path, stopped.progress, stopped.accelerator)
    again = replace(run(config, Echo(count=8), policy=stopped.policy), progress=stopped.progress)
    again.optimizer.load_state_dict(stopped.optimizer.state_dict())
    health.restore(again, tmp_path)
    rest = [[row["sample_id"] for row in take_step(again)[1][::4]] for _ in range(7)]
    assert seen[5:] == rest
    last = again.progress.cursor
    skipped = [take_step(again)[0]["curriculum/passed_over"] for _ in range(3)]
    assert sum(skipped) == again.progress.cursor - last - 3 * 4 > 0
    plain = run(with_algorithm(config, min_pass_rate=0.0), Echo(count=8))
    every = [[row["sample_id"] for row in take_step(plain)[1][::4]] for _ in range(12)]
    assert seen[:2] == every[:2] and seen != every


@pytest.mark.parametrize("bounds", [{"min_pass_rate": 0.1}, {"max_pass_rate": 0.9}])
def test_a_curriculum_is_on_by_either_bound(bounds: dict[str, float]) -> None:
    assert with_algorithm(CONFIG, **bounds).algorithm.has_curriculum
    assert not CONFIG.algorithm.has_curriculum
