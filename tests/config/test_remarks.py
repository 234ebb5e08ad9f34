from dataclasses import dataclass

from vrft.config.remarks import remarks


@dataclass
class Sampling:
    """A group."""

    # How bold
    # the sampling is.
    temperature: float = 1.0
    top_p: float = 1.0
    """The share of
    the mass."""

    # Apart from any field.

    top_k: int = 0


def test_a_field_has_the_text_below_it_or_the_comments_above_it() -> None:
    assert remarks(Sampling) == {
        "temperature": "How bold the sampling is.",
        "top_p": "The share of the mass.",
    }


@dataclass
class Group(Sampling):
    """A group with a size."""

    size: int = 8
    """How many there are."""
    top_p: float = 0.5
    """The share of the mass of a group."""


def test_a_dataclass_has_the_remarks_of_those_that_it_builds_on_under_its_own() -> None:
    assert remarks(Group) == {
        "temperature": "How bold the sampling is.",
        "top_p": "The share of the mass of a group.",
        "size": "How many there are.",
    }
