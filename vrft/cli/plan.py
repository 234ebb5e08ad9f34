"""The command that plans a run before it costs anything: ``vrft plan``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vrft import columns
from vrft.cli import next_commands
from vrft.cli.configuration import configured, resolve
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.checks.budget import Budget
    from vrft.checks.cards import Card
    from vrft.checks.lengths import Lengths
    from vrft.checks.shape import Shape
    from vrft.checks.step_plan import Job
    from vrft.config.schema import Config

SIZES = ("24GB", "40GB", "80GB")
"""The cards that a plan is made for where none is named."""


@dataclass(frozen=True)
class CardPlan:
    """The verdict on a card: whether a step fits it, and by which settings.

    ``peak`` is the step's peak in GiB, ``room`` what the card can hold. ``settings`` are those that
    have to be turned, empty where it fits as it is, None where none of those tried is enough.
    """

    name: str
    peak: float
    room: float
    settings: tuple[str, ...] | None
    line: str


@dataclass(frozen=True)
class StepPlan:
    """The plan of a training step: its facts in lines, and each card that was asked for."""

    facts: str
    cards: tuple[CardPlan, ...]

    @property
    def fits(self) -> dict[str, bool]:
        """Return card -> whether a step fits it, with other settings if need be."""
        return {card.name: card.settings is not None for card in self.cards}

    def to_json(self) -> dict[str, Any]:
        """Return the facts as lines, and the cards with their peak and room in GiB."""
        return {"facts": self.facts.splitlines(), "cards": [asdict(card) for card in self.cards]}

    def __str__(self) -> str:
        """Return the lines that ``vrft plan`` prints."""
        return "\n".join([self.facts, *(card.line for card in self.cards)])


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
    from vrft.checks import cards

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
    from vrft.checks import cards, shape, step_plan
    from vrft.checks.budget import Launch
    from vrft.models import quantization

    quantization.check_settings(config)
    quantization.check_launch(config.model, sharded=bool(args.zero))
    launch = Launch(args.devices, args.zero, offload=args.offload)
    # Of peft, about a model on "meta", and of transformers, about kernels that a plan needs not.
    with warnings.catch_warnings(action="ignore"):
        model = shape.read(config.model.name)
        job = step_plan.Job(config, model, measured(args, config, model), launch)
        text = "\n".join(facts(job))
        asked = [(name, *cards.read(name)) for name in args.gpu or SIZES]
        return StepPlan(text, tuple(card_plan(job, *meant) for meant in asked))


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
    from vrft.checks import lengths
    from vrft.evaluation.scoring import read_samples
    from vrft.models import prompt_tokens

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


def facts(job: Job) -> list[str]:
    """Return the lines of a plan that are the same for every card."""
    from vrft.checks import costs, step_plan
    from vrft.checks.cards import GIB

    config, launch = job.config, job.launch
    counted = step_plan.parameters(job)
    total, trained = (sum(numbers) for numbers in zip(*counted.values(), strict=True))
    parts = ", ".join(f"{part} {numbers[0] / 1e9:.3f}" for part, numbers in counted.items())
    load = job.load(job.lengths.longest)
    devices = f"on each of {launch.devices} device(s)"
    devices += f", ZeRO-{launch.zero}" if launch.zero else ""
    devices += " with offload" if launch.offload else ""
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
    lines += ["", *memory_lines(step_plan.budget(job))]
    host = step_plan.states_of(job).host
    if host:
        lines += [f"{'in the machine, a device, GiB':<30}{host / GIB:>10.2f}", ""]
    return lines


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
    if job.launch.offload:
        texts.append("what offload moves between machine and device takes no time in a plan")
    if job.launch.offload and job.launch.zero == 3:
        texts.append("the weights of a layer that computes are not counted: ZeRO-3 sends them")
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


def card_plan(job: Job, name: str, memory: float, cards: Sequence[Card]) -> CardPlan:
    """Return whether a step fits a memory, or with which settings."""
    from vrft.checks import step_plan
    from vrft.checks.cards import GIB, usable

    room = usable(memory)
    peak, answer = step_plan.budget(job).peak, step_plan.remedy(job, room)
    sizes = peak / GIB, room / GIB
    text = f"{name:<10} does not fit: {sizes[0]:.1f} GiB, and {sizes[1]:.1f} can be held; "
    if answer is None:
        others = "a smaller model, or --devices 8 --zero 3"
        text += f"none of the settings tried is enough: {others}"
        return CardPlan(name, *sizes, None, text)
    if not answer.settings:
        text = f"{name:<10} fits: {sizes[0]:.1f} of {sizes[1]:.1f} GiB{times(job, cards)}"
        return CardPlan(name, *sizes, (), text)
    turned = step_plan.changed(job, answer.settings)
    text += f"{' '.join(answer.settings)}: {answer.peak / GIB:.1f} GiB{times(turned, cards)}"
    return CardPlan(name, *sizes, answer.settings, text)


def times(job: Job, cards: Sequence[Card]) -> str:
    """Return the seconds of a median step on cards, in words."""
    from vrft.checks import costs, step_plan

    rehearsed = step_plan.rehearse(job, job.lengths.middle)
    config = job.config
    texts = []
    for card in cards:
        taken = costs.seconds(
            rehearsed, card, step_plan.updates(config), step_plan.references(config)
        )
        halves = ", ".join(f"{half} {seconds:.1f} s" for half, seconds in taken.items())
        texts.append(f"{card.name}: {halves}")
    return f" ({'; '.join(texts)})" if texts else ""
