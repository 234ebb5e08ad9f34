"""The command that plans a run before it costs anything: ``vrft plan``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vrft.cli.configuration import resolve
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.checks.budget import Budget
    from vrft.checks.lengths import Lengths
    from vrft.checks.shape import Shape
    from vrft.checks.step_plan import Job
    from vrft.config.schema import Config

SIZES = ("24GB", "40GB", "80GB")
"""The cards that a plan is made for where none is named."""


def plan(args: argparse.Namespace) -> int:
    """Print what a step of a run takes, and whether it fits; status 1 if it fits no card."""
    from vrft.checks import cards, shape, step_plan
    from vrft.checks.budget import Launch

    asked = {name: cards.read(name) for name in args.gpu or SIZES}
    if args.devices == 1 and args.zero:
        raise UserError("--zero shards over several devices; give --devices too")
    # Of peft, about a model on "meta", and of transformers, about kernels that a plan needs not.
    with warnings.catch_warnings(action="ignore"):
        config = configuration(args)
        model = shape.read(config.model.name)
        job = step_plan.Job(
            config, model, measured(args, config, model), Launch(args.devices, args.zero)
        )
        print("\n".join(facts(job)))
        fits = [print_card(job, name, *meant) for name, meant in asked.items()]
    return 0 if any(fits) else 1


def configuration(args: argparse.Namespace) -> Config:
    """Return the configuration to plan for, which needs no task where a prompt's size is given."""
    from vrft import config

    if args.picture or args.words is not None:
        return config.load(args.config, args.settings)
    return resolve(args)


def measured(args: argparse.Namespace, config: Config, model: Shape) -> Lengths:
    """Return the lengths of the data's prompts, or of the one that the options describe."""
    from vrft import registry
    from vrft.checks import lengths
    from vrft.evaluation.scoring import read_samples
    from vrft.models import prompt_tokens

    try:
        counter = prompt_tokens.load_counter(config.model)
    except UserError:
        counter = None  # the plan says that text is counted by its bytes
    if args.picture or args.words is not None:
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


def facts(job: Job) -> list[str]:
    """Return the lines of a plan that are the same for every card."""
    from vrft.checks import costs, step_plan

    config, launch = job.config, job.launch
    counted = step_plan.parameters(job)
    total, trained = (sum(numbers) for numbers in zip(*counted.values(), strict=True))
    parts = ", ".join(f"{part} {numbers[0] / 1e9:.3f}" for part, numbers in counted.items())
    load = job.load(job.lengths.longest)
    devices = f"on each of {launch.devices} device(s)"
    devices += f", ZeRO-{launch.zero}" if launch.zero else ""
    lines = [
        f"model      {job.shape.name}, by {job.shape.source}: {total:,} parameters (in billions: "
        f"{parts}), {trained:,} trained",
        f"data       {job.lengths.line()}",
        f"step       {len(load.prompts)} prompt(s) x {load.generations} completions, all "
        f"{load.length} tokens long, {devices}",
        *(f"note       {note}" for note in notes(job)),
    ]
    rehearsed = step_plan.rehearse(job, job.lengths.middle)
    lines += ["", f"{'a median step':<24}{'TFLOP':>10}{'GB moved':>12}"]
    taken = costs.costs(rehearsed, step_plan.updates(config), step_plan.references(config))
    for (half, part), cost in sorted(taken.items()):
        if cost.flops > 1e9 or cost.bytes > 1e9:
            lines.append(
                f"{f'{half}: {part}':<24}{cost.flops / 1e12:>10.2f}{cost.bytes / 1e9:>12.1f}"
            )
    return [*lines, "", *memory_lines(step_plan.budget(job))]


def notes(job: Job) -> list[str]:
    """Return what a plan leaves out of its account, if the configuration has it."""
    config = job.config
    texts = []
    if config.rollout.engine != "vrft":
        texts.append("the rollout's server is not counted: it takes its share beside the trainer")
    if config.algorithm.baseline == "critic":
        texts.append("the critic's head is not counted")
    if config.algorithm.name == "sft":
        texts.append("reference answers are taken to be as long as a completion may be")
    if not config.model.shared_prefix:
        texts.append("model.shared_prefix=false is not counted: the plan shares prompts")
    return texts


def memory_lines(budget: Budget) -> list[str]:
    """Return the table of a step's peak memory by part, in GiB."""
    from vrft.checks.cards import GIB

    halves = {
        name: parts for name, parts in vars(budget).items() if parts
    }  # a rollout of another engine has none
    names = list(dict.fromkeys(name for parts in halves.values() for name in parts))
    lines = ["".join([f"{'peak of the longest, GiB':<30}", *(f"{half:>10}" for half in halves)])]
    for name in names:
        sizes = [parts.get(name, 0) / GIB for parts in halves.values()]
        if max(sizes) >= 0.005:
            lines.append("".join([f"{name:<30}", *(f"{size:>10.2f}" for size in sizes)]))
    totals = [sum(parts.values()) / GIB for parts in halves.values()]
    return [*lines, "".join([f"{'sum':<30}", *(f"{size:>10.2f}" for size in totals)]), ""]


def print_card(job: Job, name: str, memory: float, cards: Sequence[object]) -> bool:
    """Print whether a step fits a memory, or with which settings; return whether it can."""
    from vrft.checks import step_plan
    from vrft.checks.cards import GIB, usable

    peak, room = step_plan.budget(job).peak, usable(memory)
    answer = step_plan.remedy(job, room)
    if answer is not None and not answer.settings:
        print(f"{name:<10} fits: {peak / GIB:.1f} of {room / GIB:.1f} GiB{times(job, cards)}")
        return True
    text = f"{name:<10} does not fit: {peak / GIB:.1f} GiB, and {room / GIB:.1f} can be held; "
    if answer is None:
        others = "a smaller model, or --devices 8 --zero 3"
        print(f"{text}none of the settings tried is enough: {others}")
        return False
    turned = step_plan.changed(job, answer.settings)
    print(f"{text}{' '.join(answer.settings)}: {answer.peak / GIB:.1f} GiB{times(turned, cards)}")
    return True


def times(job: Job, cards: Sequence[object]) -> str:
    """Return the seconds of a median step on cards, in words."""
    from vrft.checks import costs, step_plan
    from vrft.checks.cards import Card

    rehearsed = step_plan.rehearse(job, job.lengths.middle)
    config = job.config
    texts = []
    for card in cards:
        assert isinstance(card, Card)
        taken = costs.seconds(
            rehearsed, card, step_plan.updates(config), step_plan.references(config)
        )
        halves = ", ".join(f"{half} {seconds:.1f} s" for half, seconds in taken.items())
        texts.append(f"{card.name}: {halves}")
    return f" ({'; '.join(texts)})" if texts else ""
