"""The app in a real browser: run by ``make test-browser``."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from fakes import viewed
from fakes.browsed import expect, exported

from vrft.viewer import serve, views

pytestmark = pytest.mark.browser


def rows(page: Any) -> list[str]:
    """Return the ids in the list, in their order."""
    return [str(text) for text in page.locator(".row .id").all_inner_texts()]


def test_an_export_opens_from_disk_with_a_tab_for_each_view(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out"))
    page.wait_for_selector("canvas")
    tabs = [" ".join(text.split()) for text in page.locator("#tabs a").all_inner_texts()]
    assert tabs == [
        "Curves",
        "Rollouts run1",
        "Rollouts run2",
        "Answers before",
        "Answers after",
        "Compare before → after",
    ]
    # Two seeds of one arm: one series, whose mean at step 3 is (1.3 + 2.3) / 2 = 1.8.
    assert "2 seeds" in page.inner_text(".legend")
    label = page.locator("canvas").first.get_attribute("aria-label")
    assert "1.8 at step 3" in label
    assert "run1, step 2: rewards have not moved" in page.inner_text(".warnings")


def test_answers_are_sorted_filtered_searched_and_walked_by_keys(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#e0")
    page.wait_for_selector(".row")
    assert rows(page) == ["c", "d", "b", "a"]  # the worst first
    page.get_by_label("Only").select_option("unreadable")
    assert rows(page) == ["d"]
    page.get_by_label("Only").select_option("")
    page.get_by_label("Search").fill("(200,200),(600,400)")  # in an answer
    expect(page.locator(".row")).to_have_count(1)
    assert rows(page) == ["b"]
    page.get_by_label("Search").fill("")
    page.locator(".list").focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_selector(".detail h2:text-is('d')")
    assert page.url.endswith("#e0/3")
    assert "nothing: unreadable" in page.inner_text(".detail")
    page.keyboard.press("k")
    page.wait_for_selector(".detail h2:text-is('c')")
    # The true region, the true box and the answer's.
    assert page.locator(".mark").count() == 3
    # The picture has arrived: its own width, enlarged.
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 100)
    page.keyboard.press("b")
    assert not page.locator(".overlay").is_visible()


def test_a_bar_of_the_histogram_chooses_its_scores(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#e0")
    page.wait_for_selector(".row")
    page.locator(".histogram button").nth(10).click()  # [0.5, 0.55)
    assert rows(page) == ["b"] and "1 of 4 answers" in page.inner_text(".count")
    page.locator(".histogram button").nth(10).click()
    assert len(rows(page)) == 4


def test_a_comparison_shows_gains_and_losses_first(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#c0-1")
    page.wait_for_selector(".row")
    assert rows(page) == ["d", "a"]  # +1, then -0.5
    assert "1 gain, 1 loss, 2 unchanged; mean +12.5" in page.inner_text(".count")
    page.locator(".row").first.click()
    page.wait_for_selector(".pair")
    assert "I cannot tell." in page.inner_text(".pair")
    assert page.locator(".mark.given").count() == 1 and page.locator(".mark.before").count() == 0


def test_two_evaluations_alone_are_opened_at_what_changed(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders[2:], tmp_path / "out"))
    page.wait_for_selector(".row")
    assert rows(page) == ["d", "a"]
    assert page.locator("#tabs a[aria-current='page']").inner_text().startswith("Compare")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_selector(".detail h2:text-is('a')")
    # The true box and those of both answers, on one picture.
    kinds = [page.locator(f".mark.{kind}").count() for kind in ("true", "before", "given")]
    assert kinds == [1, 1, 1] and page.locator("figure").count() == 1


def test_evaluations_of_other_limits_are_compared_on_common_answers(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    run, before, after = folders[0], folders[2], folders[3]
    lines = (after / "predictions.jsonl").read_text().splitlines()
    (after / "predictions.jsonl").write_text("\n".join(lines[:2]) + "\n")
    settings = json.loads((after / "settings.json").read_text())
    settings["limit"] = 2
    del settings["fingerprint"]
    (after / "settings.json").write_text(json.dumps(settings))
    shutil.copytree(before, run / "again")
    shutil.copytree(before, run / "broken")
    (run / "broken" / "settings.json").write_text("{")
    page.goto(exported([run, before, after], tmp_path / "out"))
    page.wait_for_selector("#tabs a")
    tabs = [" ".join(text.split()) for text in page.locator("#tabs a").all_inner_texts()]
    assert tabs[-1] == "Compare 3 pairs" and "Unreadable broken" in tabs
    page.locator("#tabs a", has_text="Unreadable").click()
    page.wait_for_selector(".error")
    assert "settings.json: not JSON" in page.inner_text(".error")
    page.locator("#tabs a", has_text="Compare").click()
    page.get_by_label("Pair").select_option(label="before → after")
    page.wait_for_selector(".row")
    assert rows(page) == ["a"]
    assert "on the 2 answers that both have, of 4 and 2" in page.inner_text(".side")


def test_a_log_that_cannot_be_read_says_why(page: Any, folders: list[Path], tmp_path: Path) -> None:
    (folders[0] / "completions" / "000003.jsonl").write_text("nonsense\n")
    page.goto(exported(folders, tmp_path / "out") + "#r0")
    page.wait_for_selector(".error")
    assert "000003.jsonl: cannot be read" in page.inner_text(".error")
    page.goto(exported(folders, tmp_path / "out") + "#e0")
    page.wait_for_selector(".row")


def test_characters_that_hide_themselves_or_turn_writing_round_are_seen(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    file = folders[2] / "predictions.jsonl"
    file.write_text(file.read_text().replace("I cannot tell.", r"7\u202e18\u001b[2J\ud83d"))
    page.goto(exported(folders, tmp_path / "out") + "#e0/3")
    page.wait_for_selector(".answer")
    assert r"7\u202e18\x1b[2J\ud83d" in page.inner_text(".answer")


def test_rollouts_are_coloured_by_advantage_and_walked_by_steps(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#r0")
    page.wait_for_selector(".card")
    assert "step 3: 1 group" in page.inner_text(".count")
    assert page.locator(".chip").all_inner_texts() == ["+0.5", "-0.5"]
    colours = page.locator(".chip").evaluate_all("chips => chips.map(c => c.style.background)")
    assert len(set(colours)) == 2
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".count")).to_contain_text("step 2")
    assert page.locator(".mark.true").count() == 1 and page.locator(".mark.sampled").count() == 1


def test_warnings_and_changes_stand_on_the_time_line(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    viewed.resume(folders[0], 3)
    metrics = folders[0] / "metrics.jsonl"
    rows_of = [json.loads(line) for line in metrics.read_text().splitlines()]
    shares = {"frac_reward_zero_std": 1.0, "frac_without_signal": 0.25}
    rows_of = [{**row, **shares} for row in rows_of]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    page.goto(exported(folders[:1], tmp_path / "out"))
    page.wait_for_selector("canvas")
    assert "resumed at step 3: train.learning_rate: 1e-06 → 2e-06" in page.inner_text(".change")
    assert "rewards have not moved" in page.inner_text(".warning")
    # The pointer goes along the whole line, and is told of both.
    canvas = page.locator("canvas").first
    told = []
    for x in range(4, int(canvas.bounding_box()["width"]), 4):
        canvas.hover(position={"x": x, "y": 60})
        told.append(canvas.get_attribute("title"))
    assert "run1, step 2: rewards have not moved" in told
    assert any(text.startswith("run1, resumed at step 3: train.learning_rate") for text in told)
    labels = page.locator("canvas").evaluate_all("all => all.map(c => c.ariaLabel)")
    assert "groups with signal: run1 0.75 at step 1, 0.75 at step 3" in labels


PALE = """() => {
    // Text whose contrast with what is behind it is below 4.5, or 3 for large type (WCAG's AA).
    const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, alpha] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, alpha / 255];
    };
    const over = (top, below) => [0, 1, 2].map((k) => top[3] * top[k] + (1 - top[3]) * below[k]);
    const behind = (node) => {
        const below = node.parentElement ? behind(node.parentElement) : [255, 255, 255];
        return over(rgba(getComputedStyle(node).backgroundColor), below);
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const pale = [];
    let seen = 0;
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || !node.checkVisibility() || node.closest('.token.end, option')) continue;
        seen += 1;
        const style = getComputedStyle(node), below = behind(node);
        const [a, b] = [light(over(rgba(style.color), below)), light(below)];
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const contrast = Math.max(a, b) / Math.min(a, b);
        if (contrast < (large ? 3 : 4.5)) pale.push([node.textContent, contrast]);
    }
    return [seen, pale];
}"""

NAMELESS = """() => [
    ...document.querySelectorAll('a, button, input, select, summary, [tabindex="0"]')
].filter((node) => node.checkVisibility() && !(node.ariaLabel || node.textContent.trim()
        || node.labels?.length || node.title)).map((node) => node.outerHTML)"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_contrast_and_controls_names_in_every_view(
    browser: Any, folders: list[Path], tmp_path: Path, theme: str
) -> None:
    address = exported(folders, tmp_path / "out")
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=theme)
    views_of = {
        "curves": "canvas", "r0/step/1/0": ".answer > .text .token.p4", "e0/1": ".stage img",
        "c0-1/0": ".pair",
    }  # fmt: skip
    for view, ready in views_of.items():
        page.goto(f"{address}#{view}")
        page.wait_for_selector(ready)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        seen, pale = page.evaluate(PALE)
        assert seen > 10 and pale == [], view
        assert page.evaluate(NAMELESS) == [], view
    page.close()


def test_tab_goes_from_the_views_to_the_filters_to_the_list_to_the_answers(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#r0/step/1/0")
    page.wait_for_selector(".card")
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "['nav', '#filters', '.list', '.prompt', '.card'].find("
            "(name) => document.activeElement.closest(name))"
        )
        if place and place not in order:
            order.append(place)
    assert order == ["nav", "#filters", ".list", ".prompt", ".card"]


@pytest.mark.parametrize("view", ["curves", "r0/step/1/0", "e0/1", "c0-1/0"])
def test_nothing_is_wider_than_a_telephone(
    browser: Any, folders: list[Path], tmp_path: Path, view: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{exported(folders, tmp_path / 'out')}#{view}")
    page.wait_for_selector("canvas, .card, .stage img")
    assert (
        page.evaluate(
            "Math.max(...[...document.querySelectorAll('html, main, .detail')]"
            ".map((n) => n.scrollWidth - n.clientWidth))"
        )
        <= 0
    )
    page.close()


def test_tokens_are_shaded_by_probability_and_join_to_the_text(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    page.goto(exported(folders, tmp_path / "out") + "#r0/step/1/0")
    page.wait_for_selector(".card .answer > .text .token")
    card = page.locator(".card").first
    assert "entropy 0.3125" in card.locator(".cardhead").inner_text()
    row = json.loads((folders[0] / "completions" / "000001.jsonl").read_text().splitlines()[0])
    texts = card.locator(".answer .text").evaluate_all("nodes => nodes.map(n => n.textContent)")
    # The thoughts are folded, tags included; the mark of the end is behind the text.
    assert "".join(texts) == row["text"] + "■" and not card.locator(".thought .text").is_visible()
    assert texts[0] == "<think>🦉 owl</think>" and card.locator(".thought .token").count() == 7
    title = card.locator(".token").nth(1).get_attribute("title")
    # Tokens 2 and 3 of the row, of which the first wrote nothing: -0.2 * 4 and -0.2 * 9.
    assert title == '"ow": log p -0.8 (45 %), log p -1.8 (17 %)'
    assert card.locator(".token.end").get_attribute("title").startswith("end of the answer: log p")
    page.keyboard.press("p")
    expect(page.locator(".answer .token")).to_have_count(0)
    assert "<think>" not in card.locator(".answer").first.text_content()
    page.get_by_label("tokens by probability").check()
    page.wait_for_selector(".card .answer > .text .token")


def test_a_log_without_tokens_names_the_setting(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    for file in (folders[0] / "completions").glob("*.jsonl"):
        rows_of = [json.loads(line) for line in file.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if not k.startswith("token_")} for row in rows_of]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    page.goto(exported(folders, tmp_path / "out") + "#r0/step/1/0")
    page.wait_for_selector(".card")
    assert "train.log_token_logprobs" in page.locator(".cards").inner_text()
    assert page.locator(".token").count() == 0


def test_true_regions_and_masks_are_drawn_and_switched(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    viewed.segment(folders[2])
    page.goto(exported(folders, tmp_path / "out") + "#e0/1")
    page.wait_for_selector("canvas.mask")
    # The left half of the picture is filled: 50 columns of 100.
    filled = """canvas => {
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const at = (x, y) => pixels[4 * (y * canvas.width + x) + 3] > 0;
        return [canvas.width, canvas.height, at(0, 0), at(49, 99), at(50, 0), at(99, 99)];
    }"""
    mask = page.locator("canvas.mask").evaluate(filled)
    assert mask == [100, 100, True, True, False, False]
    path = page.locator(".mark.region .line").get_attribute("d")
    assert path == "M0.2 0.2L0.6 0.2L0.6 0.6L0.2 0.6Z"
    page.get_by_label("answer's mask").uncheck()
    assert not page.locator("canvas.mask").is_visible()
    page.get_by_label("true region").uncheck()
    assert not page.locator(".mark.region").is_visible()
    assert page.locator(".mark.given").is_visible()
    page.keyboard.press("b")
    assert not page.locator(".layers").is_visible()
    # A rollout has the region too.
    page.goto(page.url.partition("#")[0] + "#r0/step/1/0")
    page.wait_for_selector(".mark.region")


def test_lists_show_thumbnails_and_pictures_only_what_is_looked_at(
    page: Any, folders: list[Path], tmp_path: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(exported(folders, tmp_path / "out") + "#e0")
    expect(page.locator(".thumb")).to_have_count(4)
    for thumb in page.locator(".thumb").all():
        expect(thumb).not_to_have_js_property("naturalWidth", 0)
    assert not any("/pictures/" in url for url in asked)
    page.keyboard.press("j")
    page.wait_for_selector(".stage img")
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 100)
    assert len([url for url in asked if "/pictures/" in url]) == 1


def test_markup_in_answers_stays_text(page: Any, folders: list[Path], tmp_path: Path) -> None:
    dialogs: list[Any] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    page.goto(exported(folders, tmp_path / "out") + "#r0/step/1/0")
    page.wait_for_selector(".card")
    assert viewed.HOSTILE in page.locator(".card").nth(1).inner_text()
    assert page.locator(".card b, .card img").count() == 0 and dialogs == []


def test_a_live_run_is_followed(page: Any, folders: list[Path]) -> None:
    with serve.server(views.open_site(folders[:1], live=True)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        page.wait_for_selector("canvas[aria-label*='at step 3']")
        with (folders[0] / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 4, "time": 0.0, "reward": 5}) + "\n")
        page.wait_for_selector("canvas[aria-label*='5 at step 4']")
        # Its rollouts too have a step to come.
        page.locator("#tabs a", has_text="Rollouts").click()
        page.wait_for_selector("#search[max='2']")
        completions = folders[0] / "completions"
        shutil.copyfile(completions / "000003.jsonl", completions / "000004.jsonl")
        page.wait_for_selector("#search[max='3']")
        page.get_by_label("Step after").click()
        page.wait_for_selector(".count:has-text('step 4')")
        server.shutdown()
        thread.join()


def test_on_a_telephone_list_and_answer_take_turns(
    browser: Any, folders: list[Path], tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(exported(folders, tmp_path / "out") + "#e0")
    page.wait_for_selector(".row")
    assert not page.locator(".detail").is_visible()
    page.locator(".row").first.click()
    page.wait_for_selector(".detail h2")
    assert not page.locator(".side").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".back").click()
    page.wait_for_selector(".side")
    page.close()
