"""The state of a checkpoint is read as it was written, or refused with its file and a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vrft.errors import UserError
from vrft.training import trainer_state
from vrft.training.trainer_state import Progress


def test_the_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    done = Progress(step=3, cursor=24, num_tokens=500)
    trainer_state.write(tmp_path, done, SimpleNamespace(num_processes=2))  # type: ignore[arg-type]
    assert trainer_state.progress_in(tmp_path) == done


GOOD = {"step": 3, "cursor": 24, "num_tokens": 500, "processes": 1}


@pytest.mark.parametrize(
    "text",
    [
        # cut off, empty, zeros, and other than UTF-8
        '{"step": 3',
        "",
        "\0" * 40,
        "\xff",
        # JSON, but no object, or too deep to be read
        "null",
        "[3, 24, 500]",
        "[" * 100_000,
        # an object without what is asked for
        "{}",
        # each count as a text, null, a list, a truth value, below zero, with decimals, too large
        *(
            json.dumps(GOOD | {name: value})
            for name in ("step", "cursor", "num_tokens")
            for value in ("3", None, [3], True, -1, 8.5, 3.0, 10**30)
        ),
        '{"step": NaN, "cursor": 24, "num_tokens": 500}',
        '{"step": %s, "cursor": 24, "num_tokens": 500}' % ("9" * 5000),
    ],
)
def test_a_state_of_no_run_is_one_line_with_the_file_and_a_remedy(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / trainer_state.STATE).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"trainer_state\.json: not the state of a run") as caught:
        trainer_state.progress_in(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert "move this checkpoint elsewhere to resume from the one before" in str(caught.value)
