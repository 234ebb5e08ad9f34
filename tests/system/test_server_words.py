"""The words of a server that refuses: an error in JSON in its many forms, or another text."""

from __future__ import annotations

import pytest

from vrft.system.server_words import one_line, words_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error": {"message": "too long", "code": 400}}', "too long"),  # OpenAI's
        ('{"error": {"detail": "too long"}}', "too long"),
        ('{"error": "out of memory"}', "out of memory"),  # Ollama's
        ('{"object": "error", "message": "too long"}', "too long"),  # of an older vLLM
        ('{"detail": "no such field"}', "no such field"),  # FastAPI's
        ('{"detail": [{"msg": "no such field"}]}', "[{'msg': 'no such field'}]"),
        ('{"error": null, "message": "too long"}', "too long"),
        ('{"error": null}', '{"error": null}'),  # no form of a reason: the whole text
        ("{}", "{}"),
        ('["too long"]', '["too long"]'),
        ("<h1>Forbidden</h1>", "<h1>Forbidden</h1>"),
        ("", ""),
    ],
)
def test_the_reason_of_a_refusal_is_found_in_any_form(text: str, words: str) -> None:
    assert words_in(text) == words


def test_json_that_is_nested_too_deeply_is_a_text_as_any_other() -> None:
    assert words_in("[" * 100_000) == "[" * 100_000


def test_a_foreign_text_is_one_line_of_bounded_length() -> None:
    assert one_line(" too\n long\t") == "too long"
    assert len(one_line("long" * 1000)) == 300
