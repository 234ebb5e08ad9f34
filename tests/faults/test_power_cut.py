"""A machine that stops finds on its disk what the names say: bytes are synced before a rename.

Shown by the order of system calls over whole runs: whatever is renamed, alone or in a folder, was
synced after its last change, and its folder is synced before anything else is renamed.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.disk import DiskCalls
from fakes.scripted import Scripted, benchmark, write_reasonseg

from vrft import cli
from vrft.config.schema import ModelConfig
from vrft.evaluation import evaluate, rescoring

Settings = Callable[..., list[str]]

BEST = ("eval.split=val", "eval.limit=2", "train.eval_steps=1",
        "train.metric_for_best_model=different")  # fmt: skip


def is_hidden(folder: Path) -> bool:
    """Whether a folder has no name yet that anybody looks for: those in the making have a dot."""
    return any(part.startswith(".") for part in folder.parts)


def check_order(calls: DiskCalls) -> None:
    assert [old for old, _ in calls.unsynced if not is_hidden(old.parent)] == []
    for (kind, old, new), after in itertools.pairwise(calls.calls):
        # The old one of two steps aside first: a run that starts puts it back.
        if kind == "rename" and not new.name.endswith(".former") and not is_hidden(new.parent):
            assert after[0] == "sync" and after[1] == old.parent, (old, after)


def unsynced(calls: DiskCalls, folder: Path) -> set[str]:
    """The files of a folder that were changed since they were brought to the disk."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    late = [path for path in paths if calls.synced.get(path) != path.stat().st_mtime_ns]
    return {path.relative_to(folder).as_posix() for path in late}


@pytest.mark.parametrize("more", [BEST, ("algorithm=sft", *BEST), ("algorithm=ppo",)])
def test_nothing_of_a_run_takes_its_name_before_it_is_on_the_disk(
    more: tuple[str, ...], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    calls = DiskCalls(monkeypatch)
    assert cli.main(settings(run, 3, *more)) == 0
    for name in ("final", "checkpoint-3"):
        shutil.rmtree(run / name)
    assert cli.main(["train", "--resume", str(run)]) == 0
    check_order(calls)
    renamed = {new.name for kind, _, new in calls.calls if kind == "rename"}
    expected = {"config.yaml", "config-1.yaml", "fingerprint.json", "manifest.json", "final",
                "checkpoint-2", "checkpoint-3", "metrics.jsonl"}  # fmt: skip
    assert renamed >= expected | ({"best.json"} if BEST[0] in more else set())
    assert unsynced(calls, run) == set()


def test_nothing_of_an_evaluation_takes_its_name_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four, out = benchmark(write_reasonseg(tmp_path / "data")), tmp_path / "out"
    calls = DiskCalls(monkeypatch)
    evaluate.run(four, ModelConfig(name="scripted"), out, policy=Scripted())
    rescoring.score_file(out / "predictions.jsonl", four, out=tmp_path / "again")
    check_order(calls)
    renamed = [new for kind, _, new in calls.calls if kind == "rename"]
    assert out / "settings.json" in renamed and out / "scores.json" in renamed
    assert tmp_path / "again" / "predictions.jsonl" in renamed
