"""The driver of `make demo`: what counts as success, and the whole way on a few pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.cli import demo as demo
from vrft.types import Comparison, Interval

NOTHING = Interval(0.0, 0.0, 0.0, 10)


def rows(held_out: tuple[float, float], blanked: float) -> list[Comparison]:
    """A table with the held-out gain and its low end, and the gain on blanked pictures."""
    gain, low = held_out
    return [
        Comparison(demo.HELD_OUT.name, "iou", NOTHING, NOTHING, Interval(gain, low, 1.0, 10)),
        Comparison(demo.BLANKED.name, "iou", NOTHING, NOTHING, Interval(blanked, -1.0, 1.0, 10)),
    ]


@pytest.mark.parametrize(
    ("held_out", "blanked", "expected"),
    [
        # a sure gain that blanked pictures do not bring
        ((0.2, 0.1), 0.0, True),
        # a gain that may be chance
        ((0.2, -0.01), 0.0, False),
        # as much is gained blindly
        ((0.2, 0.1), 0.2, False),
        # a loss
        ((-0.2, -0.3), -0.5, False),
    ],
)
def test_success_is_a_sure_gain_above_the_blanked_one(
    held_out: tuple[float, float], blanked: float, expected: bool
) -> None:
    table = rows(held_out, blanked)
    assert demo.learned(table) is expected
    assert demo.conclusion(table).startswith("It learned to look") is expected


def test_a_command_that_fails_ends_the_demo_with_its_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.vrft("eval", "--benchmark", "nobody", "--model", "demo")
    assert capsys.readouterr().out == "$ vrft eval --benchmark nobody --model demo\n"


@pytest.mark.slow
def test_the_demo_goes_all_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["train.max_steps=1", "train.per_device_train_batch_size=2"]
    status = demo.main(["--seed", "1", "--out", str(tmp_path), "--limit", "4", *small])
    out = capsys.readouterr().out
    commands = [line.split()[2] for line in out.splitlines() if line.startswith("$ ")]
    assert commands == ["eval"] * 3 + ["train"] + ["eval"] * 3
    for part in demo.PARTS:
        assert part.name in out
        assert (tmp_path / "before" / part.folder / "predictions.jsonl").is_file()
    assert "data:image" in (tmp_path / "seed-1" / "before-and-after.html").read_text("utf-8")
    assert status == (0 if "It learned to look" in out else 1)
