"""The report of a plan: what a step takes, in lines, and whether it fits the cards asked for."""

from __future__ import annotations

from collections.abc import Sequence

from vrft.step_plans import costs, step_plan
from vrft.step_plans.budget import PeakMemory
from vrft.step_plans.cards import GIB, Card, usable
from vrft.step_plans.step_plan import Job
from vrft.step_plans.verdicts import CardPlan, StepPlan


def report(job: Job, asked: Sequence[tuple[str, float, Sequence[Card]]]) -> StepPlan:
    """Return the plan of a job for what was asked for: names, memories in GiB, cards meant by each.

    A size such as 24GB means every card that has it, and tells the times of a step on each.
    """
    return StepPlan("\n".join(facts(job)), tuple(card_plan(job, *meant) for meant in asked))


def facts(job: Job) -> list[str]:
    """Return the lines of a plan that are the same for every card."""
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
    if not config.algorithm.by_reward:
        texts.append("reference answers are taken to be as long as a completion may be")
    if job.launch.offload:
        texts.append("what offload moves between machine and device takes no time in a plan")
    if job.launch.offload and job.launch.zero == 3:
        texts.append("the weights of a layer that computes are not counted: ZeRO-3 sends them")
    if not config.model.shared_prefix:
        texts.append("model.shared_prefix=false is not counted: the plan shares prompts")
    return texts


def memory_lines(budget: PeakMemory) -> list[str]:
    """Return the table of a step's peak memory by part, in GiB."""
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
