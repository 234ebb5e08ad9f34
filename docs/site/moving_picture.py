"""Make the README's picture that moves: rollouts in the viewer, from the first step to the last.

    make picture                                         of a run of the demo, which it trains first
    python docs/site/moving_picture.py runs/mine         of another run

Nothing is picked by hand: the steps lie at even distances, and each shows the group whose mean
reward is the median of its step. Written are docs/rollouts.webp, which moves, and its last frame,
docs/rollouts.png, for those who want no motion.
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parent.parent
FRAMES = 12
SECONDS = 1.5
"""The time that a frame is shown; the last is shown twice as long."""

SIZE = {"width": 1280, "height": 640}
LARGEST = 1_500_000
"""Bytes of the moving picture at most: a page should not wait for it."""

# Nothing of the browser's own asks the network.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def spread(steps: Sequence[int], count: int) -> list[int]:
    """Return up to ``count`` of the steps at even distances, the first and the last among them."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (count - 1))] for k in range(count)]


def median_group(groups: Sequence[Any]) -> int:
    """Return the place of the group of median mean reward, the lower one of two."""
    means = [sum(a["reward"] for a in g["answers"]) / len(g["answers"]) for g in groups]
    return sorted(range(len(means)), key=lambda k: means[k])[(len(means) - 1) // 2]


def animated(frames: Sequence[Image.Image]) -> bytes:
    """Return the frames as an animated WebP of at most LARGEST bytes, as good as that allows."""
    durations = [round(1000 * SECONDS)] * (len(frames) - 1) + [round(2000 * SECONDS)]
    for quality in (90, 80, 70, 60, 50, 40):
        file = io.BytesIO()
        first, *others = frames
        first.save(
            file, "WEBP", save_all=True, append_images=others, duration=durations, loop=0,
            quality=quality, method=6,
        )  # fmt: skip
        if file.tell() <= LARGEST:
            return file.getvalue()
    raise SystemExit(f"{len(frames)} frames are more than {LARGEST:,} bytes; make SIZE smaller")


@contextmanager
def served(run: Path) -> Iterator[tuple[str, str]]:
    """Serve a run in the viewer; yield the address and the name of its view."""
    from vrft.viewer import serve, views

    site = views.open_site([run])
    name = next(name for name, view in site.views.items() if isinstance(view, views.RunView))
    with serve.server(site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", name
        finally:
            server.shutdown()
            thread.join()


def screenshots(run: Path) -> list[Image.Image]:
    """Return the viewer's page of the median group of FRAMES steps of a run."""
    from playwright.sync_api import expect, sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    expect.set_options(timeout=30_000)
    frames = []
    with served(run) as (address, view), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(address)
        page.wait_for_selector("#tabs a")
        steps = page.evaluate("view => vrft.load(`${view}/steps`)", view)
        for step in spread(steps, FRAMES):
            content = page.evaluate(f"view => vrft.load(`${{view}}/step-{step}`)", view)
            group = median_group(content["groups"])
            page.goto(f"{address}#{view}/step/{step}/{group}")
            named = content["groups"][group]["id"]
            # Not by functions that playwright polls: the page's policy forbids to evaluate them.
            expect(page.locator(".detail h2")).to_have_text(named)
            expect(page.locator(".count")).to_contain_text(f"step {step}:")
            for image in page.locator(".stage img").all():
                expect(image).not_to_have_js_property("naturalWidth", 0)
            page.wait_for_load_state("networkidle")
            frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    return frames


def main(run: Path, folder: Path = FOLDER) -> None:
    """Write the moving picture of a run and its still one."""
    frames = screenshots(run)
    (folder / "rollouts.webp").write_bytes(animated(frames))
    frames[-1].quantize(128, dither=Image.Dither.NONE).save(folder / "rollouts.png", optimize=True)
    for name in ("rollouts.webp", "rollouts.png"):
        print(f"{folder / name}: {(folder / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
