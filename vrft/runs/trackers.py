"""Trackers that get a run's records: those of ``accelerate.tracking``, by the names of TRL."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.errors import UserError
from vrft.runs.tracker_names import TrackerNames
from vrft.system import durable

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

WANDB_RUN = "wandb.json"
"""The file in a run's folder with the id of its record at W&B, as the JSON of a text."""

PROJECT = "vrft"
"""The project (MLflow: experiment) that runs are filed under at a tracker."""


def check_trackers(report_to: Sequence[str]) -> list[str]:
    """Return the trackers that ``train.report_to`` asks for, each once; ``none`` alone is none.

    Raises UserError, before anything is written, for a name that accelerate does not know and for
    a package that is not installed.
    """
    if not report_to or list(report_to) == ["none"]:
        return []
    # Imported here, as accelerate brings torch along, which reading a log does not need.
    from accelerate import utils
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    for name in report_to:
        if name == "none":
            raise UserError("train.report_to: 'none' excludes every tracker; give it alone")
        if name not in LOGGER_TYPE_TO_CLASS:
            near = paths.suggest(name, sorted([*LOGGER_TYPE_TO_CLASS, "none"]))
            raise UserError(f"train.report_to: unknown tracker {name!r}; {near}")
        # A class that somebody has registered with accelerate has no such test: it is installed.
        installed = getattr(utils, f"is_{name}_available", lambda: True)
        if not installed():
            raise UserError(
                f"train.report_to={name}: the package {name} is not installed; run "
                f"`pip install {name}` or leave it out"
            )
    return list(dict.fromkeys(report_to))


def start_tracker(
    name: str, folder: Path, resume_step: int | None, settings: Mapping[str, Any]
) -> GeneralTracker:
    """Start a tracker on a run that bears the folder's name, and give it the hyper-parameters.

    A resumed run goes on in the same record where its tracker finds one by a name or an id of
    ours: TensorBoard, W&B, Trackio, ClearML and DVCLive. At the others it begins a second record
    of the same name.
    """
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's trackers do not start without; nothing happens where there is one
    project, logging_dir, options = tracker_arguments(name, folder, resume_step, settings)
    cls = LOGGER_TYPE_TO_CLASS[name]
    where = [str(logging_dir)] if cls.requires_logging_directory else []
    tracker: GeneralTracker = cls(project, *where, **options)
    tracker.start()
    if name == "comet_ml":
        tracker.tracker.set_name(name_of(folder))  # accelerate has no argument for it
    # TensorBoard keeps hyper-parameters in a sub-run for each call, and has those of the start.
    resumed = resume_step is not None
    if settings and name != "trackio" and not (name == "tensorboard" and resumed):
        tracker.store_init_configuration(TrackerNames(name).of(settings))
    return tracker


def tracker_arguments(
    name: str, folder: Path, resume_step: int | None, settings: Mapping[str, Any]
) -> tuple[str, Path, dict[str, Any]]:
    """Return the project, the folder and the options with which a tracker is made.

    Each package has its own words for the name of a run and for going on with one.
    """
    run, resumed = name_of(folder), resume_step is not None
    options: dict[str, Any]
    match name:
        case "tensorboard":
            # accelerate writes to <logging_dir>/<project>. Events beyond the checkpoint are
            # repeated by the resumed run, so TensorBoard is told to forget the first ones.
            purge = None if resume_step is None else resume_step + 1
            return "tensorboard", folder, {"purge_step": purge}
        case "wandb":
            resume = "allow" if resumed else None
            run_id = wandb_id(folder, resumed=resumed)
            options = {"name": run, "id": run_id, "dir": str(folder), "resume": resume}
        case "trackio":
            options = {"name": run, "resume": "allow" if resumed else "never"}
            # accelerate's own call would add a setting of this name: allow_val_change.
            options |= {"config": dict(settings)} if settings else {}
        case "clearml":
            # Or ClearML would overwrite a task of the same name from the last three days.
            options = {"task_name": run, "reuse_last_task_id": False, "continue_last_task": resumed}
        case "dvclive":
            options = {"dir": str(folder / "dvclive"), "exp_name": run, "resume": resumed}
        case "mlflow":
            options = {"run_name": run}
        case "swanlab":
            options = {"experiment_name": run}
        case "aim":
            # accelerate names the run by its first argument. The repository is the working
            # directory's, where runs can be compared, and not one inside each run's folder.
            return run, Path(), {"experiment": PROJECT}
        case _:
            options = {}
    return PROJECT, folder, options


def name_of(folder: Path) -> str:
    """Return the name of a run at its trackers, that of its folder."""
    return folder.resolve().name


def wandb_id(folder: Path, *, resumed: bool) -> str:
    """Return the id of a run's record at W&B: a new one, which a resumed run takes again.

    W&B lets a run overwrite the record of another with its id, and forbids some signs in it: the
    folder's name would be neither unique nor always legal.
    """
    path = folder / WANDB_RUN
    if resumed and path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8")))
    made = secrets.token_hex(8)  # not of `random`, which runs of one seed share
    durable.write_text(path, json.dumps(made) + "\n")
    return made
