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
