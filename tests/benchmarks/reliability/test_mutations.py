"""Changed inputs: the same by the same seed, and JSON that mostly stays readable."""

from __future__ import annotations

import json
import random

from benchmarks.reliability import fuzz, mutations
from benchmarks.reliability.targets import TARGETS

TREE = {"images": [{"id": 1, "width": 84}], "names": ["cup", "jug"], "crowd": True}


def readable(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def test_mutations_of_a_seed_are_the_same() -> None:
    for mutate, content in (
        (mutations.mutated, b"(1,1),(9,9)"),
        (mutations.mutated_json, json.dumps(TREE).encode()),
    ):
        first, second = (
            [mutate(content, rng) for _ in range(50)]
            for rng in (random.Random(3), random.Random(3))
        )
        assert first == second
        assert len(set(first)) > 25


def test_most_changed_json_stays_json_and_differs() -> None:
    rng = random.Random(5)
    content = json.dumps(TREE).encode()
    changed = [mutations.mutated_json(content, rng) for _ in range(400)]
    assert 0.7 < sum(map(readable, changed)) / len(changed) < 1
    assert sum(json.loads(c) != TREE for c in changed if readable(c)) > 200
    # what is no JSON, or nothing to change, has its bytes changed
    for text in (b"", b"7", b"{", b"[" * 5000):
        assert isinstance(mutations.mutated_json(text, rng), bytes)


def test_most_inputs_of_coco_are_scored() -> None:
    outcome = fuzz.fuzz("COCO", TARGETS["COCO"], 30.0, inputs=1200, start=4)
    assert outcome.errors == {}
    assert outcome.refused < outcome.inputs / 2
