"""The error texts of docs/troubleshooting.md are those of the code."""

from __future__ import annotations

import ast
import inspect
import re

from fakes.folders import ROOT
from huggingface_hub import constants
from huggingface_hub.utils import _auth

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def quoted() -> list[str]:
    """Return the error texts in the first column of the page's last table."""
    table = PAGE.partition("## By error text")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def texts() -> str:
    """Return all texts in the code, those in pieces joined; what is filled in is a blank."""
    nodes = (
        node
        for path in (ROOT / "vrft").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    joined = []
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else " " for p in node.values]
            joined.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            joined.append(node.value)
    return "\n".join(joined)


def test_every_error_text_of_the_page_is_one_of_the_code() -> None:
    known, asked = texts(), quoted()
    assert len(asked) >= 9
    assert [text for text in asked if text not in known] == []


def test_the_variables_of_the_page_are_the_hubs() -> None:
    named = set(re.findall(r"`(HF_\w+)=", PAGE))
    known = inspect.getsource(constants) + inspect.getsource(_auth)
    assert {"HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"} <= named
    assert {name for name in named if f'"{name}"' not in known} == set()


def test_a_text_that_the_code_does_not_have_would_be_noticed() -> None:
    assert "lies outside the folder of the data" not in texts()
