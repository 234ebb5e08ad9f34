"""The words of a server that refuses a request or fails: an error in JSON, in any of its forms."""

from __future__ import annotations

import json
from typing import Any


def words_in(text: str) -> str:
    """Return the reason in a server's answer; the whole text where it has none, as of a proxy."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return reason_of(answer) or text


def reason_of(answer: Any) -> str:
    """Return the reason in the JSON of a refusal, in any of the usual forms; "" for another."""
    error = (answer.get("error") or answer) if isinstance(answer, dict) else ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else str(error)


def one_line(text: str) -> str:
    """Return a foreign text in one line of at most 300 characters."""
    return " ".join(text.split())[:300]
