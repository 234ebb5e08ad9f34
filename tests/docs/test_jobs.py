"""The jobs of docs/jobs.md run as they are written, block by block, by a tiny model.

What is changed, and nothing else: hub ids become the embedded model ``demo``; numbers of steps and
lengths are made small (SMALL, LIMITS); a training that names no folder gets one of its own, as the
default folder is named by the second. Files that a section uses and does not show are those of
another section, or the samples of tests/records/formats.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from fakes.folders import RECORDS, ROOT
from nbclient import NotebookClient

from vrft import cli

PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HUB_ID = re.compile(r"\bQwen/[\w.-]+")

SMALL = {
    "train.max_steps=200": "train.max_steps=1",
    "train.max_steps=300": "train.max_steps=2",
    "train.save_steps=100": "train.save_steps=1",
    "train.eval_steps=50": "train.eval_steps=1",
    '"max_steps": 200}': '"max_steps": 1}, sampling={"max_completion_length": 8}',
    "vrft.evaluate(run, rows)": 'vrft.evaluate(run, rows, sampling={"max_completion_length": 8})',
    "(run, rows))": '(run, rows, sampling={"max_completion_length": 8}))',
    '"a.png"))': '"a.png", max_completion_length=8))',
}
"""What the page says -> what is run."""

LENGTH = "sampling.max_completion_length=8"
LIMITS = {
    "train": ["model=demo", "train.max_steps=2", "algorithm.num_generations=2", LENGTH],
    "check": ["model=demo"],
    "eval": [LENGTH],
}
"""Settings that stand before a command's own, which win; a resumed run has its own."""

JOBS = 13


@dataclass(frozen=True)
class Block:
    """A block of the page: its language, the file that it is, and its text."""

    language: str
    file: str
    text: str


def sections() -> dict[str, list[Block]]:
    """Return the blocks of every job by its heading."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        heading: [Block(*block) for block in BLOCK.findall(body)]
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def words_of(line: str, number: int) -> list[str]:
    """Return the arguments of a command of the page, with the limits of LIMITS."""
    program, verb, *words = shlex.split(line)
    assert program == "vrft", line
    if "--resume" in words or "--predictions" in words:
        return [verb, *words]
    own = f"train.output_dir=runs/{number}"
    folder = [own] if verb == "train" and "train.output_dir" not in line else []
    return [verb, *LIMITS.get(verb, []), *folder, *words]


def smaller(text: str) -> str:
    """Return a block with the changes of SMALL and the embedded model."""
    for written, small in SMALL.items():
        text = text.replace(written, small)
    return HUB_ID.sub("demo", text)


@pytest.fixture
def desk(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file that the page shows, and the samples of foreign formats."""
    folder = tmp_path / "desk"
    shutil.copytree(RECORDS / "formats", folder)
    for blocks in sections().values():
        for block in blocks:
            if block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which files of rewards add their folder
    monkeypatch.delitem(sys.modules, "brief", raising=False)
    return folder


def run_block(block: Block, number: int) -> None:
    """Run a block of commands or of Python in the present folder."""
    text = smaller(block.text)
    if block.language == "python":
        exec(compile(text, "docs/jobs.md", "exec"), {"__name__": "__main__"})
        return
    for place, line in enumerate(text.splitlines()):
        assert cli.main(words_of(line, 100 * number + place)) == 0, line


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("heading", sections())
def test_a_job_runs_as_it_is_written(
    heading: str, desk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Job 7 compares with the model of job 2.
    every = sections()
    former = next(name for name in every if name.startswith("2. "))
    if "runs/questions" in "".join(b.text for b in every[heading]) and heading != former:
        train = next(b for b in every[former] if b.language == "sh")
        run_block(Block("sh", "", train.text.splitlines()[0]), 0)
    capfd.readouterr()
    printed = ""
    for number, block in enumerate(every[heading], start=1):
        if block.language == "text":
            for line in block.text.splitlines():
                assert line in printed, line
        elif not block.file:
            run_block(block, number)
            captured = capfd.readouterr()
            printed = captured.out + captured.err


@pytest.mark.slow
def test_the_job_of_a_notebook_runs_in_one_and_its_results_show_themselves(desk: Path) -> None:
    (block,) = next(blocks for name, blocks in sections().items() if name.startswith("5. "))
    cells = [nbformat.v4.new_code_cell(text) for text in (smaller(block.text), "run", "result")]  # type: ignore[no-untyped-call]
    book = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(desk)}}).execute()
    run, result = (cell.outputs[-1]["data"]["text/html"] for cell in book.cells[1:])
    assert "<td>reward</td>" in run
    assert "<td>accuracy</td>" in result and "data:image/jpeg;base64," in result


def test_the_page_has_all_jobs_and_each_is_short() -> None:
    assert len(sections()) == JOBS
    for heading, blocks in sections().items():
        typed = [block for block in blocks if block.language in ("sh", "python")]
        assert typed, heading
        for block in typed:
            lines = [line for line in block.text.splitlines() if line]
            # Three commands or ten lines; a line a format is one job each.
            most = 10 if block.language == "python" else 3
            assert len(lines) <= most or heading.startswith("4. "), heading


def test_every_change_of_the_page_is_needed() -> None:
    for written in SMALL:
        assert written in PAGE, written
