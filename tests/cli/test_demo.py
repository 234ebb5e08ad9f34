"""Driver of `make demo`: what counts as success, and all its commands on a few pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from vrft import cli
from vrft.cli import demo
from vrft.types import Comparison, Interval

NOTHING = Interval(0.0, 0.0, 0.0, 10)


def table_of(held_out: tuple[float, float], blanked: float) -> list[Comparison]:
    """Return a table of the held-out gain with its low end, and the gain on blanked pictures."""
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
    table = table_of(held_out, blanked)
    assert demo.learned_to_look(table) is expected
    assert demo.conclusion(table).startswith("It learned to look") is expected


def test_a_command_that_fails_ends_the_demo_with_its_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.call(cli.main, "eval", "--benchmark", "nobody", "--model", "demo")
    assert capsys.readouterr().out == "$ vrft eval --benchmark nobody --model demo\n"


def test_a_model_is_evaluated_on_three_parts_with_the_limit_as_it_was_typed(tmp_path: Path) -> None:
    calls: list[Sequence[str]] = []

    def command(argv: Sequence[str]) -> int:
        calls.append(argv)
        return 7 if "--blank-images" in argv else 0

    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    args = parser.parse_args(["--out", str(tmp_path), "--limit", "5", "train.max_steps=1"])
    assert args.seed == [42] and args.settings == ["train.max_steps=1"]
    # The second evaluation fails: the third, and the training, are not begun.
    with pytest.raises(SystemExit, match="7"):
        demo.run(args, command)
    first, second = calls
    assert list(second) == [
        *("eval", "--benchmark", "demo_grounding", "--model", "demo"),
        *("--out", str(tmp_path / "before" / "demo_grounding-blank")),
        *("--batch-size", "50", "--limit", "5", "--blank-images"),
    ]
    assert "--blank-images" not in first


@pytest.mark.slow
def test_the_demo_goes_all_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["train.max_steps=1", "train.per_device_train_batch_size=2"]
    status = cli.main(["demo", "--seed", "1", "--out", str(tmp_path), "--limit", "4", *small])
    out = capsys.readouterr().out
    commands = [line.split()[2] for line in out.splitlines() if line.startswith("$ ")]
    assert commands == ["eval"] * 3 + ["train"] + ["eval"] * 3
    for part in demo.PARTS:
        assert part.name in out
        assert (tmp_path / "before" / part.folder / "predictions.jsonl").is_file()
    page = tmp_path / "seed-1" / "before-and-after" / "index.html"
    assert f"pictures: {page}\n" in out and page.is_file()
    assert '"start":"c0-1"' in (page.parent / "data" / "catalogue.js").read_text()
    assert page.parent.with_suffix(".jpg").is_file()
    assert status == (0 if "It learned to look" in out else 1)
