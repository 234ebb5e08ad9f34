"""The command line as a test calls it: a mistake must be one line on standard error."""

from __future__ import annotations

import pytest

from vrft import cli


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The complaint on standard error, which must be a single line."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vrft: error: ")
    return line


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What the command line complains of; it must stop with status 2."""
    capsys.readouterr()
    assert cli.main(argv) == 2
    return one_line(capsys)
