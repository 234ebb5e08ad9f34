"""Words beside a thing or number that deny it, set it apart, or make another number of it."""

import pytest
from fakes.asserted_numbers import ASSERTED, BOUNDS

from vrft.answers import another_number, apart, assertions, denied


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # a denial in the clause before, or behind with a verb
        ("this is not a ", "", True),
        ("", " is wrong", True),
        ("", " isn't it", True),
        # in another clause, behind without a verb, and nothing beside it
        ("not that one, but the ", "", False),
        ("a ", ", not a tulip", False),
        ("", " not the tulip", False),
        ("", "", False),
        # set apart
        ("far from the ", "", True),
        # doubt is denied, and its absence asserts
        ("I doubt it is the ", "", True),
        ("without doubt the ", "", False),
        ("答案不是", "", True),
    ],
)
def test_a_sentence_denies_what_stands_between_its_parts(
    before: str, after: str, expected: bool
) -> None:
    assert denied(before, after) is expected


@pytest.mark.parametrize("text", [text for text in BOUNDS if "7" in text])
def test_a_bound_or_an_estimate_names_another_number(text: str) -> None:
    before, _, after = text.partition("7")
    assert another_number(before, "7", after)


@pytest.mark.parametrize("text", ASSERTED)
def test_a_number_that_is_asserted_is_no_other(text: str) -> None:
    before, _, after = text.rpartition("7")
    assert not another_number(before, "7", after)


def test_an_option_may_itself_be_a_denial() -> None:
    assert assertions.is_denial("no") and assertions.is_denial("neither")
    assert not assertions.is_denial("not moving") and not assertions.is_denial("left")


def test_no_phrase_before_a_thing_or_number_is_longer_than_is_looked_at() -> None:
    phrases = [
        *("without", "far from", "farther from", "farthest from", "furthest from", "nowhere near"),
        *("than or equal to", "at least", "approximately", "approx.", "maximum of", "fraction of"),
        *("multiple of", "the square of", "the cube of", "negative", "exceeding", "between"),
    ]
    for phrase in phrases:
        assert len(f"{phrase} the") <= assertions.LONGEST_PHRASE
        for before in (f"it is surely placed right {phrase} ", f"{phrase} (", f"{phrase} the [( "):
            assert apart(before) or another_number(before, "7", "")
    for count in assertions.COUNTS:
        assert len(f"{count} out of the") <= assertions.LONGEST_PHRASE
        assert another_number(f"there are {count} out of the ", "77", "")


@pytest.mark.parametrize(
    ("before", "another"),
    [
        # a phrase is words of its own, behind a dash and before brackets too
        ("it is over ", True),
        ("it is more-than (", True),
        ("moreover ", False),
        ("_about ", False),
        ("7about ", False),
        # whatever its case, with the stop of an abbreviation, in Chinese
        ("AT MOST the ", True),
        ("approx. ", True),
        ("一共大约", True),
        ("一共大", False),
        # a phrase that does not end there
        ("at least in ", False),
        # another number in words, and the same one
        ("two out of the ", True),
        ("seven of the ", False),
    ],
)
def test_a_phrase_directly_before_a_number_may_make_another_of_it(
    before: str, another: bool
) -> None:
    assert another_number(before, "7", "") is another
