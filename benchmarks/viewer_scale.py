"""The viewer with 20,000 answers, in Chromium: `python -m benchmarks.viewer_scale [--publish]`.

Rows of sums with 500 pictures are answered twice, so that there is a comparison too. With
``--publish`` the table is written to docs/viewer.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.publishing import ROOT, commit, markdown
from benchmarks.reliability.load import question, vrft, write_lines

PAGE = ROOT / "docs" / "viewer.md"
MARKS = "<!-- measured -->\n", "<!-- end -->"

PICTURES = 500
"""Pictures of 320 x 240 pixels, each of which several rows ask about."""

ACT = """
([label, value]) => {
  const control = document.querySelector(`[aria-label="${label}"]`);
  const begun = performance.now();
  control.value = value;
  control.dispatchEvent(new Event(control.tagName === "SELECT" ? "change" : "input"));
  document.querySelector(".list").getBoundingClientRect();  // the new rows are laid out
  return performance.now() - begun;
}
"""
"""Use a control of the app, and return the milliseconds until its rows are laid out."""

ACTS = (
    ("Only", "unreadable"),
    ("Only", ""),
    ("Sort", "-score"),
    ("Sort", "order"),
    ("Sort", "-tokens"),
    ("Sort", "score"),
)
"""Filters and sorts by the control's name and the value that is chosen."""


def make(folder: Path, count: int) -> tuple[Path, Path]:
    """Write rows with pictures and two evaluations of them; return the folders of the two."""
    (folder / "pictures").mkdir()
    names = [f"pictures/{number}.jpg" for number in range(min(PICTURES, count))]
    for number, name in enumerate(names):
        Image.effect_noise((320, 240), 60 + number % 40).convert("RGB").save(folder / name)
    rows = folder / "rows.jsonl"
    write_lines(rows, (question(n, images=[names[n % len(names)]]) for n in range(count)))
    for name, modulus in (("before", 97), ("after", 131)):
        text = "<think>I add the numbers, one to the other.</think>\n<answer>{}</answer>"
        answers = ({"id": f"r{n}", "text": text.format(n % modulus)} for n in range(count))
        saved = folder / f"{name}.jsonl"
        write_lines(saved, answers)
        run("eval", "--data", rows, "--predictions", saved, "--out", folder / name)
    return folder / "before", folder / "after"


def run(*words: object) -> float:
    """Run a command of the toolkit, and return its seconds."""
    begun = time.monotonic()
    subprocess.run(vrft(*words), check=True, env=environment(), stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def environment() -> dict[str, str]:
    """Return the environment of a measured command: one thread, this checkout."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@contextmanager
def served(*folders: Path) -> Iterator[tuple[str, float]]:
    """Serve evaluations; yield the address, and the seconds until it was printed."""
    begun = time.monotonic()
    words = vrft("view", *folders)
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split()[0], time.monotonic() - begun
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a page of Chromium of 1280 x 800 pixels; RuntimeError where there is no Chromium."""
    from playwright import sync_api

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise RuntimeError("chromium or google-chrome must be on the PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started.new_page(viewport={"width": 1280, "height": 800})
        started.close()


def first_rows(page: Any, address: str) -> float:
    """Open an address and return the seconds until the list has rows."""
    begun = time.monotonic()
    page.goto(address)
    page.wait_for_selector(".row")
    return time.monotonic() - begun


def measure(folder: Path, count: int) -> list[tuple[str, str]]:
    """Return what was measured of ``count`` answers, with its value in words."""
    before, after = make(folder, count)
    page_folder = folder / "page"
    exported = run("view", before, "--export", page_folder)
    table = (page_folder / "data" / "e0" / "table.js").stat().st_size
    with served(before, after) as (address, ready), browser() as page:
        opened = first_rows(page, f"{address}#e0")
        acts = [page.evaluate(ACT, [*act]) for act in ACTS]
        search = page.evaluate(ACT, ["Search", f"r{count - 1}"])
        page.goto("about:blank")  # or the address would only go to another view of the page
        compared = first_rows(page, address)
    disk = (page_folder / "index.html").as_uri()
    with browser() as page:
        from_disk = first_rows(page, disk)
    return [
        ("the command, until it prints the address of two evaluations", f"{ready:.1f} s"),
        ("first rows of the answers, served", f"{opened:.2f} s"),
        ("first rows of the answers, exported, from disk", f"{from_disk:.2f} s"),
        ("first rows of the comparison, served", f"{compared:.2f} s"),
        ("what is loaded for the list, before pictures", f"{table / 1e6:.1f} MB"),
        ("a filter or another order, the slowest", f"{max(acts):.0f} ms"),
        ("search for an id", f"{search:.0f} ms"),
        (f"`--export` of one, with {PICTURES} pictures", f"{exported:.1f} s"),
    ]


def written(page: str, rows: Sequence[tuple[str, str]], count: int) -> str:
    """Return a page with the measured rows between its marks."""
    start, end = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    table = markdown([f"{count:,} answers", "takes"], rows)
    name, changed, _ = commit().partition("-dirty")
    by = f"commit {name}{', with files that were changed after it' if changed else ''}"
    return f"{page[:start]}\n{table}\n\nMeasured at {by}.\n\n{page[end:]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it if asked to; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--answers", type=int, default=20_000)
    parser.add_argument("--publish", action="store_true", help="write the table to docs/viewer.md")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), args.answers)
    print(markdown([f"{args.answers:,} answers", "takes"], rows))
    if args.publish:
        PAGE.write_text(written(PAGE.read_text("utf-8"), rows, args.answers), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
