"""benchmarks/replication/beds.py: beds are complete, and a start is known by its weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.replication.arms import ARMS
from benchmarks.replication.beds import BEDS, Bed, fingerprint
from vrft.evaluation.benchmark import load_benchmark


@pytest.mark.parametrize("bed", BEDS.values(), ids=list(BEDS))
def test_a_bed_has_a_task_and_a_benchmark_with_its_limit_of_length(bed: Bed) -> None:
    benchmark = load_benchmark(str(bed.task.with_suffix(".yml")))
    assert benchmark.task.name == str(bed.task)
    assert benchmark.sampling.max_completion_length == bed.max_completion_length
    assert benchmark.sampling.temperature == 0


@pytest.mark.parametrize("bed", BEDS.values(), ids=list(BEDS))
def test_supervised_arms_begin_at_rates_of_their_own(bed: Bed) -> None:
    assert bed.rates(ARMS["sft"]) == [bed.first_supervised_rate * 2**power for power in range(3)]
    assert bed.rates(ARMS["gpg"])[0] == bed.first_rate


def test_a_fingerprint_is_of_the_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    first = fingerprint(tmp_path)
    (tmp_path / "config.json").write_text("{ }")
    assert fingerprint(tmp_path) == first and len(first) == 12
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert fingerprint(tmp_path) != first
