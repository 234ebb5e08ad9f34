"""benchmarks/speed/served_peer.py: the page is made of what was measured, pair by pair."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.speed import limit, served_peer
from benchmarks.speed.contestant import PARTS, Record, Step
from benchmarks.speed.limit import Machine
from vrft.errors import UserError

TEXT = (1, 2)
COMPLETION = (3, 4)


def step(seconds: float) -> Step:
    """Return a step all of whose parts take as long."""
    return Step(seconds, dict.fromkeys(PARTS, seconds), dict.fromkeys(PARTS, 1))


def side(record: Record, **more: Any) -> Any:
    """Return a side whose recorded step is ``record``."""
    made = SimpleNamespace(record=None, exchange=0.5, **more)

    def take() -> Step:
        if made.record is not None:
            vars(made.record).update(vars(record))
        return step(1.0)

    made.step = take
    return made


def update(gradient: float) -> Record:
    """Return the record of an update on one completion."""
    return Record(
        {TEXT: [COMPLETION]},
        {COMPLETION: torch.tensor([-1.0, -2.0])},
        {"weight": torch.tensor([1.0, gradient])},
    )


def turns(gradient: float) -> tuple[served_peer.Turns, list[Any]]:
    """Return turns of two sides, of which ours finds a gradient, and what our engine was given."""
    given: list[Any] = []
    engine = SimpleNamespace(given={}, differences=torch.tensor([0.002, 0.001]))
    theirs = side(update(1.0), sampled={COMPLETION: (-1.5, -2.0)})
    ours = side(update(gradient), engine=engine)
    plain = ours.step

    def watched() -> Step:
        given.append(engine.given)
        return plain()  # type: ignore[no-any-return]

    def train(after_step: Any) -> None:
        theirs.step()
        while after_step(step(3.0)):
            theirs.step()

    ours.step, theirs.train = watched, train
    return served_peer.Turns(theirs, ours, pairs=2), given


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine be equally fast whenever it is asked."""
    monkeypatch.setattr(limit, "probe", lambda device: Machine(1.0, 1.0))


def test_the_first_step_is_compared_and_the_others_are_timed() -> None:
    taken, given = turns(1.0)
    taken.run()
    times = {"exchange": 0.5, **dict.fromkeys(PARTS, 3.0)}
    assert [row["theirs"] for row in taken.rows] == [{"whole": 3.0, **times}] * 2
    assert all(row["quiet"] and row["ours"]["whole"] == 1.0 for row in taken.rows)
    # TRL's completions with its engine's log-probabilities, and then none
    assert given == [{TEXT: [(COMPLETION, (-1.5, -2.0))]}, {}, {}]
    assert taken.distances == pytest.approx({"theirs": 0.5, "ours": 0.002})


def test_nothing_is_timed_where_the_gradients_differ() -> None:
    taken, _ = turns(1.1)
    with pytest.raises(UserError, match="nothing was timed"):
        taken.run()
    assert taken.rows == []


def measured() -> dict[str, Any]:
    """Return what two pairs have measured."""

    def seconds(whole: float) -> dict[str, float]:
        return {"whole": whole, "exchange": 0.01, **dict.fromkeys(PARTS, 0.5)}

    return {
        "commit": "abc1234",
        "versions": {"trl": "1.16.0"},
        "setting": asdict(served_peer.SETTING),
        "shape": asdict(served_peer.SHAPE),
        "equality": {"logps": 1e-6, "cosine": 1.0, "gradient": 2e-6},
        "distances": {"theirs": 3e-3, "ours": 1e-3},
        "pairs": [
            {"quiet": True, "theirs": seconds(6.0), "ours": seconds(2.0)},
            {"quiet": False, "theirs": seconds(8.0), "ours": seconds(4.0)},
        ],
    }


def test_ratios_are_those_of_pairs() -> None:
    """The medians' own ratio is 2.33, that of the pairs 2.5."""
    text = served_peer.page(measured())
    line = next(line for line in text.splitlines() if line.startswith("| whole step"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        *("whole step", "7.000 [6.000, 8.000]", "3.000 [2.000, 4.000]", "2.50 [2.00, 3.00]"),
    ]
    assert "of 2 pairs of steps" in text and "In\n1 of the pairs" in text


def test_without_its_environment_the_command_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.setattr(served_peer, "PEER", tmp_path / "python")
    assert served_peer.main([]) == 2
    assert "make .venv-peer/installed" in capsys.readouterr().err


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    """There is neither of both, or the one is made of the other."""
    assert served_peer.PAGE.is_file() == served_peer.RESULTS.is_file()
    if served_peer.RESULTS.is_file():
        published = json.loads(served_peer.RESULTS.read_text(encoding="utf-8"))
        assert len(published["pairs"]) >= 3
        assert served_peer.PAGE.read_text(encoding="utf-8") == served_peer.page(published)
