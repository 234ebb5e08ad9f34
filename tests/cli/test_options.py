"""What the parsers of commands are made of."""

from __future__ import annotations

import pytest

from vrft.cli import options
from vrft.errors import UserError


@pytest.mark.parametrize(
    "text",
    # nothing, zero, a sign, a point, and what int() would take
    ["", "0", "-1", "+1", "1.0", " 8", "8_0", "\u0663"],
)
def test_a_positive_number_is_written_in_plain_digits(text: str) -> None:
    with pytest.raises(Exception, match="expected a whole number above zero"):
        options.positive(text)


def verbs() -> options.Parser:
    """A parser of two commands, one of them of two words."""
    root = options.Parser(prog="vrft")
    added = root.add_subparsers(parser_class=options.Parser)
    options.add_settings(options.add_verb(added, "go", "go there", "vrft go a=1"), "a=1 or a=2")
    group = options.add_group(added, "come", "come here", "vrft come back", "back|soon")
    options.add_verb(group, "back", "come back", "vrft come back")
    root.commands = added.choices
    return root


def test_a_command_knows_its_words_and_its_help_begins_with_its_example() -> None:
    root = verbs()
    assert root.parse_args(["go", "a=1"]).command == "go"
    assert root.parse_args(["come", "back"]).command == "come back"
    back = root.commands["come"].commands["back"]
    assert back.format_help().splitlines()[:4] == [
        *("example:", "  vrft come back", "", "usage: vrft come back [-h]"),
    ]
    assert back.known_options == ["--help"]


def test_a_mistake_is_one_line_with_the_way_to_the_help() -> None:
    with pytest.raises(UserError) as caught:
        verbs().parse_args(["come"])
    expected = "the following arguments are required: back|soon; see `vrft come --help`"
    assert str(caught.value) == expected
