"""benchmarks/speed/measurement.py: a measurement is read as it was kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.race import compared, measured

from benchmarks.speed import counters, measurement
from benchmarks.speed.measurement import VERSIONS, Measurement


def test_a_measurement_is_kept_with_the_place_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "RESULTS", tmp_path)
    learned = Measurement("learning", "cpu", learning=(compared(5.0),))
    for one in (measured(), learned):
        measurement.keep(one, 90.0)
    quick, learning = sorted(measurement.read_all(tmp_path), key=lambda one: -len(one.races))
    assert quick.hardware and list(quick.versions) == list(VERSIONS) and quick.seconds == 90.0
    here = {"hardware": "", "commit": "", "versions": {}, "seconds": 0.0}
    assert replace(quick, **here) == replace(measured(), **here)
    assert replace(learning, **here) == learned


def test_measurements_of_other_models_and_devices_are_kept_apart() -> None:
    assert measured().name == "cpu-quick"
    assert replace(measured(), shape="2b", device="cuda").name == "cuda-quick-2b"


def test_no_published_count_is_impossible() -> None:
    # what was published as 0 once was a product that nobody had counted
    races = [race for one in measurement.read_all() for race in one.races]
    counted = [(race, counts) for race in races for counts in race.counts.values()]
    assert counted
    for race, counts in counted:
        counters.require_complete(counts, race.setting, race.prompt)
