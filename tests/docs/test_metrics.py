"""docs/diagnosis.md has every metric that a run writes, and none that no run writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes.folders import ROOT

from vrft import cli

PAGE = (ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Metrics")[2].partition("\n## ")[0]
FIRST_CELLS = re.findall(r"^\| (`.+?) \|", TABLE, re.MULTILINE)
NAMES = [name for cell in FIRST_CELLS for name in re.findall(r"`([^`]+)`", cell)]

SMALL = (
    *("train.max_steps=1", "train.per_device_train_batch_size=2", "train.save_steps=0"),
    *("algorithm.num_generations=2", "sampling.max_completion_length=4"),
)
RUNS = (
    ("eval.split=val", "eval.limit=1", "data.on_bad_picture=skip", "train.canaries=true"),
    ("algorithm=ppo", "algorithm.entropy_coef=0.01", "algorithm.max_pass_rate=0.9"),
    ("algorithm=sft", "eval.split=val", "eval.limit=1"),
)

OTHERWISE = {"rewards/NAME/missing", "warnings/NAME"}
"""Names of the page that need a reward which fails, or more than one step: tests of rewards and of
watchdogs have those."""


def pattern(name: str) -> str:
    """Return the expression of a name of the page, whose words in capitals stand for any other."""
    return re.sub(r"[A-Z]{2,}", "[^/]+", re.escape(name))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> set[str]:
    """The names in metrics.jsonl of three runs of one step each."""
    names: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VRFT_CACHE", str(demo_cache))
        for number, settings in enumerate(RUNS):
            folder = tmp_path_factory.mktemp(f"run-{number}") / "run"
            given = [*SMALL, *settings, f"train.output_dir={folder}"]
            assert cli.main(["train", "--config", "demo/lisa_grounding", *given]) == 0
            for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
                names |= set(json.loads(line))
    return names


@pytest.mark.slow
def test_every_metric_that_a_run_writes_is_on_the_page(written: set[str]) -> None:
    assert len(written) > 40
    missing = {
        name for name in written if not any(re.fullmatch(pattern(known), name) for known in NAMES)
    }
    assert missing == set()


@pytest.mark.slow
def test_every_metric_of_the_page_is_written_by_a_run(written: set[str]) -> None:
    assert len(NAMES) > 35
    unknown = {
        known for known in NAMES if not any(re.fullmatch(pattern(known), name) for name in written)
    }
    assert unknown == OTHERWISE
