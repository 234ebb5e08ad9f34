"""Fixtures of the tests of the viewer in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import viewed

# Nothing of the browser's own asks the network.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium once for all tests of the file."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium here: make test-browser installs Debian's"
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open an empty page, on which every error of a script fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Write two runs that differ by the seed, and two evaluations."""
    before, after = viewed.evaluations(tmp_path)
    runs = [viewed.run(tmp_path / f"run{seed}", tmp_path / "data", seed) for seed in (1, 2)]
    return [*runs, before, after]
