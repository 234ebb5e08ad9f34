"""The options of the commands that evaluate and look at answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.cli import arguments
from vrft.errors import UserError


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["eval", "--model", "a", "--predictions", "b"], "not allowed with argument --model"),
        (["eval", "--limit", "0"], "argument --limit: expected a whole number above zero"),
        (["eval", "--batch-size", "8.5"], "expected a whole number above zero, got '8.5'"),
        (["compare", "a"], "are required: AFTER"),
        (["compare", "a", "b", "--json", "--open"], "not allowed with argument --json"),
        (["prompts"], "are required: --out"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        arguments.parse(argv)


def test_what_is_not_given_has_the_value_that_the_help_names() -> None:
    compare = arguments.parse(["compare", "a", "b"])
    assert (compare.before, compare.export, compare.open) == (Path("a"), None, False)
    assert arguments.parse(["prompts", "--out", "b"]).max_size == 200
    assert arguments.parse(["eval"]).batch_size is None  # as `--endpoint` takes none
