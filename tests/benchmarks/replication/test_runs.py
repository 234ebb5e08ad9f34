"""benchmarks/replication/runs.py: a trial is an ordinary run of the toolkit, measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.replication import agenda, runs
from benchmarks.replication.arms import ARMS
from benchmarks.replication.beds import BEDS, WALKS
from benchmarks.replication.ledger import Trial
from vrft import config
from vrft.errors import UserError

TRIAL = Trial("walks", "final", "gpg, G 4", 1e-4, 3, 60)


@pytest.mark.parametrize("bed", BEDS.values())
@pytest.mark.parametrize("arm", ARMS)
def test_the_settings_of_every_arm_are_settings_of_the_toolkit(bed: runs.Bed, arm: str) -> None:
    trial = Trial(bed.name, "final", arm, 1e-4, 3, bed.steps)
    settings = runs.settings_of(bed, trial)
    resolved = config.load(None, [f"task.name={bed.task}", *settings])
    assert resolved.train.max_steps == bed.steps
    assert resolved.train.seed == 3
    assert resolved.train.lr_scheduler_type == "constant_with_warmup"
    assert resolved.train.warmup_ratio * bed.steps == pytest.approx(bed.warmup_steps)
    assert resolved.train.per_device_train_batch_size == bed.prompts


def test_arms_sample_equally_but_where_the_size_of_groups_is_the_question() -> None:
    sizes = {}
    for name in ARMS:
        resolved = config.load(
            None, runs.settings_of(WALKS, Trial("walks", "final", name, 1, 1, 9))
        )
        sizes[name] = resolved.algorithm.num_generations
    others = {"gpg, G 2": 2, "gpg, G 4": 4, "gpg, G 16": 16, "remax": 7}
    assert sizes == dict.fromkeys(ARMS, 8) | others


def test_a_search_has_questions_of_its_own() -> None:
    search = Trial("walks", "search", "gpg", 1e-4, 9001, 60)
    seeds = {
        setting
        for trial in (TRIAL, search, agenda.ceiling(WALKS))
        for setting in runs.settings_of(WALKS, trial)
        if setting.startswith("task.seed")
    }
    assert seeds == {"task.seed=9", "task.seed=2"}


def test_a_trial_is_trained_evaluated_and_leaves_nothing_but_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def command(argv: Sequence[str], folder: Path) -> float:
        said.append(" ".join(argv[:1]))
        if argv[0] == "train":
            run = folder / "run"
            run.mkdir(parents=True)
            last = {"step": 60, "epoch": 2 * 60 * 16 / WALKS.rows, "num_tokens": 999.0}
            (run / "metrics.jsonl").write_text(json.dumps(last) + "\n", encoding="utf-8")
            return 41.26
        out = Path(argv[argv.index("--out") + 1])
        scored = {"start": {out: 0.25}}
        if "--all-checkpoints" in argv:
            scored = {"run": {out / "checkpoint-60": 0.5, out / "checkpoint-30": 0.4}}
        for folder_of_scores, mean in next(iter(scored.values())).items():
            folder_of_scores.mkdir(parents=True)
            report = {"metrics": {"accuracy": {"mean": mean}}}
            (folder_of_scores / "scores.json").write_text(json.dumps(report), encoding="utf-8")
        return 1.0

    monkeypatch.setattr(runs, "command", command)
    monkeypatch.setattr(runs, "fingerprint", lambda start: "0123456789ab")
    row = runs.perform(WALKS, TRIAL, tmp_path)
    assert row.curve == ((0, 0.25), (30, 0.4), (60, 0.5))
    # groups of four; prompts were drawn twice, half of them for groups without signal
    assert row.completions == 2 * 60 * 16 * 4
    assert (row.tokens, row.cpu_seconds) == (999, 41.3)
    assert said == ["train", "eval", "eval"]
    assert [path.name for path in tmp_path.iterdir()] == ["walks-start-0123456789ab-test"]
    # the start is asked once
    assert runs.perform(WALKS, TRIAL, tmp_path) == row
    assert said == ["train", "eval", "eval", "train", "eval"]


def test_a_start_is_evaluated_by_one_of_the_runs_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    beside = Thread(target=lambda: runs.start_score(WALKS, "val", tmp_path))

    def evaluate(bed: runs.Bed, model: Sequence[str], split: str, folder: Path) -> None:
        asked.append(folder)
        if len(asked) == 1:
            beside.start()
            beside.join(0.5)  # it would have asked by now
        folder.mkdir(exist_ok=True)
        report = {"metrics": {"accuracy": {"mean": 0.25}}}
        (folder / "scores.json").write_text(json.dumps(report), encoding="utf-8")

    monkeypatch.setattr(runs, "evaluate", evaluate)
    monkeypatch.setattr(runs, "fingerprint", lambda start: "0123456789ab")
    assert runs.start_score(WALKS, "val", tmp_path) == 0.25
    beside.join()
    assert len(asked) == 1


def test_a_search_asks_for_the_end_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial("walks", "search", "gpg", 1e-4, 9001, 60)
    monkeypatch.setattr(runs, "evaluate", lambda *_: None)
    monkeypatch.setattr(runs, "score_in", lambda folder: 0.5)
    assert runs.trained_scores(WALKS, trial, tmp_path, "val") == {60: 0.5}
    assert "train.save_steps=0" in runs.settings_of(WALKS, trial)
    assert "train.save_steps=10" in runs.settings_of(WALKS, TRIAL)


@pytest.mark.slow
def test_a_command_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    said = r"vrft compare failed \(2\): .*nobody: cannot be read.*log"
    with pytest.raises(UserError, match=said):
        runs.command(["compare", str(tmp_path / "nobody"), "another"], tmp_path)


@pytest.mark.slow
def test_a_command_gives_the_processor_seconds_of_its_process(tmp_path: Path) -> None:
    assert 0 < runs.command(["tasks"], tmp_path) < 300
    assert "math" in (tmp_path / "log.txt").read_text(encoding="utf-8")
