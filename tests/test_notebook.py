"""The notebooks: their outputs are those of an execution, and `make notebooks` runs them anew."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from fakes.folders import ROOT

import vrft

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = {"predicted_boxes", "first_run", "own_data", "own_task"}

PUBLIC = {
    *(f"vrft.{path.stem}" for path in (ROOT / "vrft").glob("[!_]*.py")),
    *("vrft", "vrft.images", "vrft.mathverify", "vrft.records", "vrft.rewards", "vrft.viz"),
}
"""The modules that CONTRIBUTING.md calls public."""

WRITTEN = re.compile(r"^%%writefile (\S+)$", re.MULTILINE)

OTHERS = {*sys.stdlib_module_names, "PIL", "numpy", "IPython"}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def code(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def executor() -> ModuleType:
    """Load notebooks/execute.py, which lies beside no package."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebooks_are_those_that_are_promised() -> None:
    assert {path.stem for path in NOTEBOOKS} == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_an_execution(path: Path, executor: ModuleType) -> None:
    book = read(path)
    cells = code(book)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert book.metadata["vrft"]["executed"] == executor.digest(book), "run notebooks/execute.py"
    assert cells[-1].outputs
    # Boxes and texts that can be selected, or a table: one that shows nothing teaches nothing.
    shown = [output.get("data", {}).get("text/html", "") for output in outputs]
    assert any("<figcaption>" in html for html in shown) or any("<table>" in html for html in shown)
    assert path.stat().st_size < 300_000
    assert str(ROOT) not in path.read_text(encoding="utf-8")  # nor the place where it was executed


def test_an_edited_cell_is_noticed(executor: ModuleType) -> None:
    book = read(NOTEBOOKS[0])
    before = executor.digest(book)
    code(book)[0].source += "\n"
    assert executor.digest(book) != before


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each import; the name is "" for ``import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_the_public_names_alone(path: Path) -> None:
    cells = code(read(path))
    # A notebook may import what it has written.
    written = {Path(name).stem for cell in cells for name in WRITTEN.findall(cell.source)}
    for cell in cells:
        if cell.source.startswith("%%writefile"):
            tree = ast.parse(cell.source.partition("\n")[2])
        else:
            tree = ast.parse(cell.source)
        for module, name in imported(tree):
            assert module in PUBLIC | written or module.split(".")[0] in OTHERS, module
            assert module != "vrft" or not name or name in vrft.__all__, name
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_"), ast.unparse(node)
                if isinstance(node.value, ast.Name) and node.value.id == "vrft":
                    assert node.attr in vrft.__all__, ast.unparse(node)


def test_a_run_is_evaluated_into_a_folder_that_no_other_run_has() -> None:
    """All cells can be run again: the second run has a folder of its own, and its answers too."""
    cells = [cell for path in NOTEBOOKS for cell in code(read(path))]
    calls = [
        node
        for cell in cells
        if not cell.source.startswith("%%")
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("vrft.evaluate", "vrft.train")
    ]
    assert not any("output_dir" in ast.unparse(call) for call in calls)
    of_runs = [call for call in calls if call.args and ast.unparse(call.args[0]) == "run"]
    assert len(of_runs) == 3
    for call in of_runs:
        folders = [word.value for word in call.keywords if word.arg == "out"]
        assert not any(isinstance(folder, ast.Constant) for folder in folders), ast.unparse(call)


@pytest.mark.notebooks
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(
    path: Path, tmp_path: Path, executor: ModuleType
) -> None:
    fresh, kept = executor.execute(path, tmp_path), read(path)
    kinds = [
        [
            sorted({key for output in cell.outputs for key in output.get("data", ())})
            for cell in code(b)
        ]
        for b in (fresh, kept)
    ]
    assert kinds[0] == kinds[1]  # each cell still shows what it showed
