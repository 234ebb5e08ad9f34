"""The commands before, of and about a training, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vrft.cli import demo
from vrft.cli.options import add_json, add_run, add_verb, positive, split_names


def add_check(verbs: Any) -> None:
    """Add ``vrft check``."""
    verb = add_verb(
        verbs,
        "check",
        "check a task and its data: gold answers, pictures, leaks",
        "vrft check --data rows.jsonl",
    )
    add_run(verb, "model.max_pixels=401408")
    verb.add_argument(
        "--splits",
        type=split_names,
        metavar="A,B",
        help="splits to check and to compare with the first; default: train, compared with the "
        "others in its folder",
    )
    verb.add_argument("--limit", type=positive, metavar="N", help="only N samples of each split")
    add_json(verb)


def add_plan(verbs: Any) -> None:
    """Add ``vrft plan``."""
    verb = add_verb(
        verbs,
        "plan",
        "say what a step takes and which card it fits, without weights",
        "vrft plan --config lisa_grounding --data ReasonSeg --gpu 24GB model.lora.r=64",
    )
    add_run(verb, "model.lora.r=8")
    verb.add_argument("--limit", type=positive, metavar="N", help="measure only N samples")
    verb.add_argument(
        "--picture",
        action="append",
        default=[],
        metavar="WIDTHxHEIGHT",
        help="plan without data, for a prompt with a picture of this size; may be repeated",
    )
    verb.add_argument(
        "--words",
        type=positive,
        metavar="N",
        help="plan without data, for a prompt with so many tokens of text; default: 100",
    )
    verb.add_argument(
        "--gpu",
        action="append",
        metavar="NAME|SIZE",
        help="a card, such as H100 or 24GB; may be repeated; default: 24GB, 40GB and 80GB",
    )
    verb.add_argument(
        "--devices", type=positive, default=1, metavar="N", help="devices of the run; default: 1"
    )
    verb.add_argument(
        "--zero", type=int, choices=(0, 2, 3), default=0, help="the stage of ZeRO; default: 0"
    )
    verb.add_argument(
        "--offload", action="store_true", help="ZeRO's optimizer lies in the machine's memory"
    )
    add_json(verb)


def add_train(verbs: Any) -> None:
    """Add ``vrft train``."""
    verb = add_verb(
        verbs,
        "train",
        "train a model on a task, or on your own rows",
        "vrft train --config demo/lisa_grounding train.max_steps=20",
    )
    add_run(verb, "train.learning_rate=1e-6")
    verb.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in a folder")
    verb.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, train nothing"
    )


def add_verify_resume(verbs: Any) -> None:
    """Add ``vrft verify-resume``."""
    verb = add_verb(
        verbs,
        "verify-resume",
        "show that a killed and resumed run is the same, bit for bit",
        "vrft verify-resume --config demo/lisa_grounding model.lora.r=8",
    )
    add_run(verb, "train.seed=7")
    verb.add_argument(
        "--steps", type=positive, default=4, metavar="N", help="steps of each run; default: 4"
    )
    verb.add_argument(
        "--kill-at",
        type=positive,
        default=2,
        metavar="K",
        help="the kill comes after this step's checkpoint; default: 2",
    )
    verb.add_argument(
        "--num-processes",
        type=positive,
        default=1,
        metavar="N",
        help="processes of each run on this machine, all of which are killed; default: 1",
    )
    verb.add_argument(
        "--accelerate-config",
        type=Path,
        metavar="FILE",
        help="start them as `accelerate launch --config_file FILE` does; default: as torchrun",
    )
    verb.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="a new folder that keeps both runs, with room for four checkpoints; default: a "
        "temporary one, kept if the runs differ",
    )


def add_demo(verbs: Any) -> None:
    """Add ``vrft demo``."""
    summary = "train the embedded model, evaluated before and after"
    demo.add_arguments(add_verb(verbs, "demo", summary, "vrft demo --seed 1 2 3"))


ADDED = (add_demo, add_check, add_plan, add_train, add_verify_resume)
"""The functions that add this module's commands to the parser."""
