"""The model and the evaluation that are meant where the folder of a run is named."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from vrft import launched, paths
from vrft.errors import UserError
from vrft.evaluation import predictions, settings_file

CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")

BEST = "best.json"
"""The file of a run that says which of its checkpoints is the best."""

EVALUATIONS = Path("runs", "eval")
"""The folder into which `vrft eval` writes where it is not told."""


def model(name: str) -> str:
    """Return the model that is meant: of a run's folder ``final``, or else the last checkpoint.

    RUN/best means the best checkpoint of a run. Any other name is returned as it is. Which was
    taken is said in a line on standard error. Raises UserError for a run that has no model yet.
    """
    name = paths.at_home(name)
    folder = Path(name)
    if folder.name == "best" and not folder.exists() and (folder.parent / "config.yaml").is_file():
        checkpoint = best(folder.parent)
        say(f"model: {checkpoint}")
        return str(checkpoint)
    if name in paths.EMBEDDED or not folder.is_dir() or is_model(folder):
        return name
    models = models_of(folder)
    if not models:
        if not (folder / "config.yaml").is_file():
            return name  # no run either: loading says what is missing
        raise UserError(
            f"{folder}: the run has neither final nor a checkpoint; go on with `vrft train "
            f"--resume {shlex.quote(str(folder))}`"
        )
    say(f"model: {models[-1]}")
    return str(models[-1])


def run_of(model: str) -> Path | None:
    """Return the folder of the run that a model is, or lies in; None for one of no run here.

    A model lies in its run as ``final`` or checkpoint-N; beside any other, config.yaml is not its.
    """
    if not model or model in paths.EMBEDDED:
        return None
    folder = Path(model) if Path(model).name else Path.cwd()
    inside = folder.name == "final" or CHECKPOINT.fullmatch(folder.name)
    # A model that was fetched may bring a config.yaml of another tool.
    folders = [*([] if is_model(folder) else [folder]), *([folder.parent] if inside else [])]
    return next((each for each in folders if (each / "config.yaml").is_file()), None)


def say(line: str) -> None:
    """Print a line on standard error, in one process of all that a launcher has started."""
    if launched.speaks():
        print(line, file=sys.stderr)


def best(run: Path) -> Path:
    """Return the best checkpoint of a run by its ``train.metric_for_best_model``.

    Raises UserError for a run that has none, or has it no longer.
    """
    try:
        row = json.loads((run / BEST).read_text(encoding="utf-8"))
        checkpoint = run / f"checkpoint-{int(row['step'])}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"{run / 'best'}: the run names no best checkpoint; train with eval.split and "
            "train.metric_for_best_model, or compare all by `vrft eval --all-checkpoints`"
        ) from error
    if not is_model(checkpoint):
        raise UserError(f"{run / 'best'}: {checkpoint} was the best, and has gone")
    return checkpoint


def models_of(run: Path) -> list[Path]:
    """Return the checkpoints of a run, the oldest first, and behind them ``final``."""
    steps = {path: CHECKPOINT.fullmatch(path.name) for path in run.glob("checkpoint-*")}
    checkpoints = sorted(
        (int(step[1]), path)
        for path, step in steps.items()
        # A folder of this name that lacks the state was emptied to make room.
        if step and is_model(path) and (path / "trainer_state.json").is_file()
    )
    final = [run / "final"] if is_model(run / "final") else []
    return [path for _, path in checkpoints] + final


def is_model(folder: Path) -> bool:
    """Return whether a folder holds a model or an adapter."""
    return any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))


def evaluation(path: Path) -> Path:
    """Return the evaluation that is meant: that in a folder, or the newest of a run's or model's.

    Those of a run lie in its folder, or in runs/eval with the run's models in their settings. Which
    was taken is said in a line on standard error. Raises UserError where there is none.
    """
    if not path.is_dir() or (path / predictions.PREDICTIONS).is_file():
        return path
    folders = evaluations(path)
    if not folders:
        if not is_model(path) and not (path / "config.yaml").is_file():
            raise UserError(f"{path}: no evaluation and no run in it; name the folder of one")
        raise UserError(
            f"{path}: no evaluation in it or of it in {EVALUATIONS}; make one with `vrft eval "
            f"--model {shlex.quote(str(path))}` with --benchmark NAME or --data FILE, or name its "
            "folder"
        )
    others = f" (the newest of {len(folders)})" if len(folders) > 1 else ""
    say(f"evaluation: {folders[-1]}{others}")
    return folders[-1]


def evaluations(run: Path) -> list[Path]:
    """Return the folders of a run's evaluations, in it and in runs/eval, the newest last."""
    inside = [*run.glob("*/" + predictions.PREDICTIONS)]
    inside += run.glob("*/*/" + predictions.PREDICTIONS)
    outside = [
        file
        for file in EVALUATIONS.glob("*/" + predictions.PREDICTIONS)
        if evaluates(file.parent, run)
    ]
    files = sorted({*inside, *outside}, key=lambda file: (file.stat().st_mtime_ns, str(file)))
    return [file.parent for file in files]


def evaluates(folder: Path, run: Path) -> bool:
    """Return whether the evaluation in ``folder`` is of the model ``run``, or of one below it.

    Settings that cannot be read are another tool's, or of an evaluation that was never finished.
    """
    try:
        made = settings_file.read_settings(folder).get("model")
    except UserError:
        return False
    name = made.get("name") if isinstance(made, dict) else None
    return isinstance(name, str) and Path(name).is_relative_to(run.resolve())
