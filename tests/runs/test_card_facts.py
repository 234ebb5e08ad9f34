"""The facts of a model card: the licence of the base, the run of a model, its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.runs import card_facts


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# A", "apache-2.0"),
        ("---\ntags: [a]\n---\n# A", ""),
        ("# A\n---\nlicense: mit\n---\n", ""),  # no head
        ("---\nlicense: [a\n---\n", ""),  # no YAML
        ("---\nlicense: [mit, gpl]\n---\n", ""),  # no name
        ("", ""),
    ],
)
def test_the_licence_is_that_of_the_base_models_own_card(
    head: str, licence: str, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(head)
    assert card_facts.licence_of(str(tmp_path)) == licence


def test_the_licence_of_a_base_that_is_not_on_this_disk_is_not_known() -> None:
    assert card_facts.licence_of("nobody/has-this") == card_facts.licence_of("/no/such/place") == ""
    assert card_facts.licence_of("demo") == "apache-2.0"
