"""benchmarks/replication/walks.py: a map that never changes, and no walk in two splits."""

from __future__ import annotations

import pytest

from benchmarks.replication import walks
from benchmarks.replication.walks import PLACES, ROADS, Walks
from vrft import Completion, UserError

TASK = Walks(rows=300, held_out=200)


def test_every_direction_leads_once_to_every_place() -> None:
    assert len(set(PLACES)) == 32 and not set(PLACES) & set(walks.TURNS)
    for roads in ROADS.values():
        assert sorted(roads) == sorted(roads.values()) == sorted(PLACES)


def test_a_walk_follows_the_map_turn_by_turn() -> None:
    first = ROADS["N"]["K"]
    second = ROADS["E"][first]
    assert walks.places_of("K NE") == [first, second]


def test_the_map_is_the_one_that_the_starts_were_taught() -> None:
    assert "".join(walks.places_of("K NESW")) == "HMO1"


def test_splits_share_no_walk_and_a_seed_gives_the_same_ones() -> None:
    asked = {name: {s.question for s in TASK.samples(name)} for name in ("train", "val", "test")}
    assert not asked["train"] & asked["test"] and not asked["train"] & asked["val"]
    assert not asked["val"] & asked["test"]
    assert TASK.samples("test") == TASK.samples("test")
    assert TASK.samples("train") != Walks(rows=300, seed=1).samples("train")


def test_the_reference_earns_all_and_another_place_only_the_form() -> None:
    sample = TASK.samples("train")[0]
    right = TASK.reference(sample, ())
    wrong = "<think>AAAA</think><answer>?</answer>"
    for text, reward in {right: 1.0, wrong: 0.0, sample.answer[-1]: 0.0}.items():
        assert TASK.rewards()["accuracy"](sample, Completion(text)) == reward
        assert TASK.score(sample, Completion(text)).metrics == {"accuracy": reward}
    assert TASK.rewards()["format"](sample, Completion(wrong)) == 1.0


@pytest.mark.parametrize("setting", [{"rows": 0}, {"held_out": 0}, {"turns": 0}])
def test_a_count_below_one_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected at least 1"):
        Walks(**setting)


def test_another_split_is_refused() -> None:
    with pytest.raises(UserError, match="split 'dev': expected train, val or test"):
        TASK.samples("dev")
