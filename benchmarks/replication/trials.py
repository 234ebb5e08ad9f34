"""What the training of a trial is set to, and which rows are of the trials as they are now."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.replication.agenda import CEILING
from benchmarks.replication.arms import ARMS
from benchmarks.replication.beds import Bed, fingerprint
from benchmarks.replication.ledger import Row, Trial

POINTS = 6
"""Points of a run's curve after its start."""


def settings_of(bed: Bed, trial: Trial) -> list[str]:
    """Return the settings of a trial's training, but for its folder and the start."""
    ceiling = trial.arm == CEILING
    arm = ("algorithm=sft",) if ceiling else ARMS[trial.arm].settings
    return [
        *arm,
        "model.dtype=float32",
        f"task.rows={bed.rows}",
        f"task.held_out={bed.held_out}",
        # Another stream than the start's lessons; the search has one of its own.
        f"task.seed={9 if trial.stage == 'search' else 2}",
        f"sampling.max_completion_length={bed.max_completion_length}",
        f"train.max_steps={trial.steps}",
        f"train.per_device_train_batch_size={bed.lessons if ceiling else bed.prompts}",
        f"train.learning_rate={trial.rate:g}",
        # Constant after a warm-up, as long in a short run: a score on the way is then that of a run
        # which ends there.
        "train.lr_scheduler_type=constant_with_warmup",
        f"train.warmup_ratio={min(1.0, bed.warmup_steps / trial.steps):g}",
        f"train.seed={trial.seed}",
        # A search asks for the end alone.
        f"train.save_steps={0 if trial.stage == 'search' else max(1, trial.steps // POINTS)}",
        "train.save_total_limit=null",
        f"train.logging_steps={max(1, trial.steps // POINTS)}",
        # The same for all arms: what a run tells of itself costs time that has no part in a method.
        "train.log_completions=false",
        "train.canaries=false",
        "train.dataloader_num_workers=0",
        "train.reward_timeout=0",
    ]


def by_trial(bed: Bed, rows: Sequence[Row]) -> dict[Trial, Row]:
    """Return the rows that count, by their trials.

    Those are of runs that began with the start that the bed has now and were set as its trials are
    now: of an arm or a bed that was changed since then they say nothing.
    """
    start = fingerprint(bed.start)
    return {
        row.trial: row
        for row in rows
        if row.start == start and row.settings == tuple(settings_of(bed, row.trial))
    }
