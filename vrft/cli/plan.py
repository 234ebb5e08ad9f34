"""The command that plans a run before it costs anything: ``vrft plan``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vrft import columns
from vrft.cli import next_commands
from vrft.cli.configuration import configured, resolve
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config
    from vrft.step_plans.lengths import Lengths
    from vrft.step_plans.shape import Shape
    from vrft.step_plans.verdicts import StepPlan

SIZES = ("24GB", "40GB", "80GB")
"""The cards that a plan is made for where none is named."""


def plan(args: argparse.Namespace) -> int:
    """Print what a step of a run takes, and whether it fits; status 1 if it fits no card."""
    check_options(args)
    planned = step_plan_of(configuration(args), args)
    if args.json:
        print(json.dumps(planned.to_json(), indent=2, ensure_ascii=False))
    else:
        print(planned.facts)
        lines = [card.line for card in planned.cards]
        print(columns.facts(lines, columns.terminal_width()))
        if any(planned.fits.values()):
            next_commands.say(*next_commands.after_plan(args))
    return 0 if any(planned.fits.values()) else 1


def check_options(args: argparse.Namespace, rewards: Sequence[str] = ()) -> None:
    """Raise UserError for cards that are not known, and for options that say nothing together.

    ``rewards`` are further ones, beside those of ``--reward``.
    """
    from vrft import config
    from vrft.step_plans import cards

    if described(args):
        place = config.load(None, args.settings).task.settings.get("data_dir")
        beside = {"--data": args.data or place, "--reward": args.reward or rewards}
        for option, value in {**beside, "--limit": args.limit}.items():
            if value:
                raise UserError(f"{option}: --picture and --words plan without data, for the "
                                "prompt that they describe; leave one of them out")  # fmt: skip
    for name in args.gpu or SIZES:
        cards.read(name)
    if args.devices == 1 and args.zero:
        raise UserError("--zero shards over several devices; give --devices too")
    if args.offload and not args.zero:
        raise UserError("--offload is DeepSpeed's; give --zero 2 or --zero 3 too")


def step_plan_of(config: Config, args: argparse.Namespace) -> StepPlan:
    """Return the plan of a configuration for the cards and devices that the options name."""
    from vrft.models import quantization
    from vrft.step_plans import cards, plan_report, shape, step_plan
    from vrft.step_plans.budget import Devices

    quantization.check_settings(config)
    quantization.check_launch(config.model, sharded=bool(args.zero))
    launch = Devices(args.devices, args.zero, offload=args.offload)
    # Of peft, about a model on "meta", and of transformers, about kernels that a plan needs not.
    with warnings.catch_warnings(action="ignore"):
        model = shape.read(config.model.name)
        job = step_plan.Job(config, model, measured(args, config, model), launch)
        return plan_report.report(job, [(name, *cards.read(name)) for name in args.gpu or SIZES])


def configuration(args: argparse.Namespace) -> Config:
    """Return the configuration to plan for, which needs no task where a prompt is described.

    Raises UserError as ``resolve`` does, and for a task that is not known.
    """
    from vrft import registry

    if not described(args):
        return resolve(args)
    config = configured(args)
    if config.task.name:
        registry.task_class(config.task.name)  # a plan of data builds the task
    return config


def described(args: argparse.Namespace) -> bool:
    """Return whether the options describe a prompt, so that no data are read."""
    return bool(args.picture) or args.words is not None


def measured(args: argparse.Namespace, config: Config, model: Shape) -> Lengths:
    """Return the lengths of the data's prompts, or of the one that the options describe."""
    from vrft import registry
    from vrft.evaluation.scoring import read_samples
    from vrft.models import prompt_tokens
    from vrft.step_plans import lengths

    try:
        counter = prompt_tokens.load_counter(config.model)
    except UserError:
        counter = None  # the plan says that text is counted by its bytes
    if described(args):
        words = 100 if args.words is None else args.words
        sizes = [size(text) for text in args.picture]
        return lengths.of_sizes(sizes, words, model, config.model, counter)
    task = registry.build_rewarded(config.task, config.algorithm)
    samples = read_samples(task, "train", args.limit)
    skip = config.data.on_bad_picture == "skip"
    return lengths.read(task, samples, model, config.model, counter, skip=skip)


def size(text: str) -> tuple[int, int]:
    """Return the width and height of a picture written as 1280x960; UserError for another text."""
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if sides is None:
        raise UserError(f"--picture {text}: expected WIDTHxHEIGHT in pixels, such as 1280x960")
    return int(sides[1]), int(sides[2])
