"""Sites that are opened in a real browser, and what is expected of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vrft.viewer import export, views


def expect(locator: Any) -> Any:
    """Return the expectations of a locator, which are waited for half a minute.

    Playwright's functions that are polled would be evaluated in the page, whose policy forbids it.
    """
    api = pytest.importorskip("playwright.sync_api")
    api.expect.set_options(timeout=30_000)
    return api.expect(locator)


def exported(folders: list[Path], target: Path) -> str:
    """Export the site and return the address of its page on the disk."""
    return export.export(views.open_site(folders), target).as_uri()
