"""The notebook runs from start to end on the demo data, on scripted answers and a tiny model."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nbformat
import pytest
from fakes.folders import ROOT
from nbclient import NotebookClient

from vrft import registry
from vrft.config.schema import ModelConfig, SamplingConfig
from vrft.evaluation import evaluate
from vrft.evaluation.benchmark import load_benchmark
from vrft.types import Completion, Prompt, Rollout, View

NOTEBOOK = ROOT / "notebooks" / "predicted_boxes.ipynb"
COUNT = 8
UNREADABLE = "I cannot tell."


class ByPicture:
    """A policy whose answer depends on the picture's file alone."""

    def __init__(self, answers: Mapping[object, str]) -> None:
        self.answers = answers

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        texts = [self.answers[prompt.images[0]] for prompt in prompts]
        return [(Rollout(Completion(text, (View(112, 112),)), (1,), True),) for text in texts]


def write_demo_run(folder: Path) -> None:
    """Write a run of ``make demo`` whose model learned all pictures but one and forgot that one."""
    benchmark = load_benchmark("demo_grounding")
    task = registry.build(benchmark.task)
    samples = task.samples(benchmark.split)[:COUNT]
    right = {s.images[0]: task.reference(s, (View(112, 112),)) for s in samples}
    first = samples[0].images[0]
    before = dict.fromkeys(right, UNREADABLE) | {first: right[first]}
    after = right | {first: UNREADABLE}
    for answers, part in ((before, "before"), (after, "seed-42/eval")):
        out = folder / part / "demo_grounding"
        evaluate.run(benchmark, ModelConfig(name=part), out, policy=ByPicture(answers), limit=COUNT)


@pytest.mark.slow
def test_the_notebook_runs_and_shows_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[[str], Path]
) -> None:
    write_demo_run(tmp_path)
    monkeypatch.setenv("VRFT_DEMO", str(tmp_path))
    monkeypatch.setenv("VRFT_MODEL", str(model_folder("qwen2_vl")))
    book = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(book, timeout=120, resources=where).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 5
    (row,) = re.findall(r"held-out pictures.*", "".join(o.get("text", "") for o in outputs))
    before, after, gain = (float(n) for n in re.findall(r"[+-]?\d+\.\d", row)[:3])
    # One of eight is right before and seven after, up to the rounding of boxes to thousandths.
    assert (before, after, gain) == pytest.approx((12.5, 87.5, 75.0), abs=0.5)


def test_the_notebook_holds_the_pictures_of_a_real_run() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 5
    assert not [output for output in outputs if output.output_type == "error"]


def test_the_notebook_defines_no_functions() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        if cell.cell_type == "code":
            nodes = list(ast.walk(ast.parse(cell.source)))
            assert not any(
                isinstance(n, ast.FunctionDef | ast.Lambda | ast.ClassDef) for n in nodes
            )
