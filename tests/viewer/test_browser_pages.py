"""Pages and pictures in a real browser: which tab is shown, and what is drawn where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import viewed
from fakes.browsed import expect, exported
from PIL import Image

pytestmark = pytest.mark.browser

LATE = """
const load = vrft.load;
vrft.load = async (name, fresh) => {
  if (name.startsWith(window.late)) await new Promise((resolve) => setTimeout(resolve, 300));
  return load(name, fresh);
};
"""
"""Lets documents whose names begin with window.late come 0.3 s late."""


def test_an_upright_picture_keeps_its_shape(page: Any, folders: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (900, 1600), "grey").save(tmp_path / "data" / "test" / "a.jpg")
    for width, height in ((1280, 800), (1280, 400), (500, 1600)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(exported(folders[2:3], tmp_path / "out") + "#e0/0")
        image = page.locator(".stage img")
        expect(image).to_have_js_property("naturalWidth", 900)
        shown = image.bounding_box()
        assert shown["height"] <= 0.7 * height + 1 and shown["width"] > 100
        assert shown["height"] / shown["width"] == pytest.approx(16 / 9, rel=0.02)
        # The boxes lie in the same frame as the picture.
        assert page.locator(".overlay").bounding_box() == pytest.approx(shown)


def test_boxes_lie_on_the_picture_that_they_are_in(page: Any, tmp_path: Path) -> None:
    page.goto(exported([viewed.second_picture(tmp_path)], tmp_path / "out") + "#e0/0")
    expect(page.locator("figure")).to_have_count(2)
    marks = [figure.locator(".mark").count() for figure in page.locator("figure").all()]
    assert marks == [0, 2]


@pytest.mark.parametrize("late", ["r0/metrics", "r0/steps", "e0/table", "c0-1/pairs"])
def test_a_tab_whose_documents_come_late_does_not_replace_the_next_one(
    page: Any, folders: list[Path], tmp_path: Path, late: str
) -> None:
    page.goto(exported(folders[1:], tmp_path / "out") + "#e1")
    page.wait_for_selector(".row")
    page.evaluate("() => {" + LATE + "}")
    slow = "curves" if late == "r0/metrics" else late.partition("/")[0]
    page.evaluate("late => { window.late = late; vrft.documents.clear(); }", late)
    page.evaluate("slow => { location.hash = slow; }", slow)
    expect(page.locator(f"#tabs a[data-view='{slow}']")).to_have_attribute("aria-current", "page")
    page.evaluate("() => { location.hash = 'e1'; }")
    page.wait_for_timeout(600)
    assert page.locator(".list").get_attribute("aria-label") == "Answers of after"
    assert page.evaluate("vrft.view.id") == "e1"
    page.keyboard.press("j")
    page.wait_for_selector(".detail h2")
    assert page.url.partition("#")[2].startswith("e1/")


def test_a_refusal_that_comes_late_does_not_replace_the_next_tab(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    address = exported(folders[2:], tmp_path / "out")
    (tmp_path / "out" / "data" / "e0" / "table.js").unlink()
    page.goto(address + "#e1")
    page.wait_for_selector(".row")
    page.evaluate("() => {" + LATE + "window.late = 'e0/table'; location.hash = 'e0'; }")
    expect(page.locator("#tabs a[data-view='e0']")).to_have_attribute("aria-current", "page")
    page.evaluate("() => { location.hash = 'e1'; }")
    page.wait_for_timeout(600)
    assert page.locator(".error").count() == 0 and page.locator(".row").count() == 4


def test_the_content_is_skipped_to_without_leaving_the_view(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders[2:], tmp_path / "out") + "#e1/0")
    page.wait_for_selector(".detail h2")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    # An address of nothing, as of a heading, leaves what is shown.
    page.evaluate("() => { location.hash = 'nowhere/3'; }")
    page.wait_for_timeout(100)
    assert page.evaluate("vrft.view.id") == "e1"
    assert page.locator(".list").get_attribute("aria-label") == "Answers of after"


def test_missing_answers_stand_beside_the_unreadable_ones(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    file = folders[2] / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    page.goto(exported(folders[2:], tmp_path / "out") + "#e0")
    page.wait_for_selector(".row")
    told = page.locator(".report summary").first.inner_text()
    assert "3 unreadable, 3 with answers missing" in told
