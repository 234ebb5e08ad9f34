"""Fixtures of the tests of rows: of vrft/records, vrft/annotations and vrft/formats."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VRFT_CACHE", str(folder))
    return folder


@pytest.fixture
def content(picture: Callable[..., Image.Image]) -> bytes:
    """Return the bytes of a PNG file of 9 x 5 pixels."""
    file = io.BytesIO()
    picture(9, 5).save(file, "PNG")
    return file.getvalue()
