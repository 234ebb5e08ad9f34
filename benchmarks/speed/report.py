"""RESULTS.md and the README's table, made from what is kept and from nothing else.

python -m benchmarks.speed.report
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import publishing
from benchmarks.publishing import markdown, over_seeds
from benchmarks.speed import cost, growth, learning, limit, measurement
from benchmarks.speed.cost import Load
from benchmarks.speed.measurement import HERE, Measurement, kept
from benchmarks.speed.pairs import Pair, Race
from benchmarks.speed.watch import PARTS, Step

HEAD = """# A training step against TRL's

Made by `python -m benchmarks.speed.report` from `results/*.json`, which
`python -m benchmarks.speed` writes; not edited by hand. TRL's GRPOTrainer and `vrft.update.step`
take steps in one process: on a CPU in turns, in float32 and with one thread, on a GPU one side
after the other. Weights, pictures, rewards, completion lengths and optimizer settings are the
same. TRL is given its best: no reference model, no old log-probabilities, all rows generated at
once, whole groups in a micro-batch, logits of completion tokens only. Nothing is timed before both
sides, given the same completions, found the same gradient. Times are medians [least, most] in
seconds; ratios are medians over pairs of steps of TRL's time over ours. "By the model" are ratios
of operations; "of the limit" is the time that necessary operations and bytes take at the speeds
measured right before and after our step, over our time.
"""


MODES = ("quick", "full", "learning")
"""In the order of their chapters."""

BEGIN, END = "<!-- speed: made by python -m benchmarks.speed.report -->\n", "<!-- /speed -->\n"
"""What the README's table stands between."""


def main() -> None:
    """Write RESULTS.md, its pictures and the README's table anew."""
    print(*write(kept()), sep="\n")


def write(found: Sequence[Measurement]) -> list[Path]:
    """Write all of them and return their paths."""
    drawn = [path for one in found if one.learning for path in draw(one)]
    return [*drawn, publish(found), fill(found)]


def publish(found: Sequence[Measurement], folder: Path = HERE) -> Path:
    """Write RESULTS.md and return its path."""
    path = folder / "RESULTS.md"
    ordered = sorted(found, key=lambda one: MODES.index(one.mode))
    path.write_text("\n".join([HEAD, *map(chapter, ordered)]), encoding="utf-8")
    return path


def fill(found: Sequence[Measurement], readme: Path = HERE.parents[1] / "README.md") -> Path:
    """Write what the README shows and return its path."""
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(before + BEGIN + in_short(found) + END + after, encoding="utf-8")
    return readme


def in_short(found: Sequence[Measurement]) -> str:
    """What the README shows."""
    quick = [summary(one) for one in found if one.mode == "quick"]
    told = (
        f"Time to {learning.SHARE:.0%} of TRL's gain in held-out reward on the demo "
        "(`--learning`), TRL's over ours:"
    )
    learned = [f"{told} {mean_ratio(one)}\n" for one in found if one.mode == "learning"]
    return "\n".join([*quick, *learned])


def summary(found: Measurement) -> str:
    """The ratios of each setting in short."""
    header = ("", "image / prompt / completion tokens", "whole step", "log-probs and backward")
    lines = [
        [
            race.setting.title,
            f"{race.setting.image_tokens} / {race.prompt} / {race.setting.completion}",
            f"{median(ratio(race, whole)):.1f}x",
            f"{median(ratio(race, policy)):.1f}x",
        ]
        for race in found.races
    ]
    where = f"TRL {found.versions['trl']}, one thread of {found.hardware}, commit {found.commit}."
    return f"{markdown(header, lines)}\n\n{where}\n"


def chapter(found: Measurement) -> str:
    """All that one command measured."""
    plain = [race for race in found.races if not race.checkpointing]
    saved = [race for race in found.races if race.checkpointing]
    sections = (
        ("Whole steps, no checkpointing on either side", headline(plain)),
        ("Whole steps, checkpointing on both sides", headline(saved)),
        ("Parts of a step", parts(plain or saved)),
        ("What is left to the limit", left(plain or saved)),
        ("What passes the weights in one step", counters(plain)),
        ("Equality, before any timing", equalities(found.races)),
        ("Peak memory of one step", memory(found)),
        ("Each lever's own factor", ladder(found)),
        ("How the cost grows", growths(found)),
        ("Held-out reward over the time spent on it", learned(found)),
    )
    kind = ", ".join(filter(None, (found.mode.capitalize(), found.device, found.shape)))
    title = f"## {kind}: {found.hardware}\n"
    texts = [f"### {name}\n\n{text}\n" for name, text in sections if text]
    return "\n".join([title, provenance(found), *texts])


def provenance(found: Measurement) -> str:
    """Where the numbers are from."""
    names = ", ".join(f"{name} {value}" for name, value in found.versions.items())
    return f"Commit {found.commit}; {names}; {found.seconds / 60:.1f} minutes.\n"


def counted(race: Race) -> list[Pair]:
    """The pairs on a quiet machine; all of them if it never was."""
    return [pair for pair in race.pairs if pair.quiet] or list(race.pairs)


def ratio(race: Race, seconds: Callable[[Step], float]) -> list[float]:
    """TRL's time over ours in each pair."""
    pairs = [(seconds(pair.theirs), seconds(pair.ours)) for pair in counted(race)]
    return [theirs / ours for theirs, ours in pairs if ours]


def whole(step: Step) -> float:
    """Seconds of the step."""
    return step.whole


def policy(step: Step) -> float:
    """Seconds of the update without the optimizer."""
    return step.parts["forward"] + step.parts["backward"]


def load(race: Race) -> Load:
    """One group of a race, for the cost model."""
    setting = race.setting
    return Load(race.prompt, setting.picture_tokens, setting.pictures, setting.completion,
                setting.generations)  # fmt: skip


def models(race: Race) -> tuple[float, float]:
    """The ratios of the policy pass and of the whole step by the cost model."""
    group = load(race)
    theirs = cost.theirs(race.shape, group, checkpointing=race.checkpointing)
    ours = cost.ours(race.shape, group, checkpointing=race.checkpointing)
    return theirs.policy / ours.policy, theirs.total / ours.total


def of_light(race: Race) -> float:
    """The share of the hardware's limit that our step reaches."""
    pairs = zip(lights(race), counted(race), strict=True)
    return median(sum(light.values()) / pair.ours.whole for light, pair in pairs)


def lights(race: Race) -> list[dict[str, float]]:
    """The time of light of the parts of our step in each pair."""
    width = 2 if race.device == "cuda" else 4
    return [
        limit.parts(race.shape, load(race), race.setting.prompts, pair.around_ours, width)
        for pair in counted(race)
    ]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most."""
    if not values:
        return ""
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def headline(races: Sequence[Race]) -> str:
    """Whole steps of every setting."""
    header = ("setting", "model", "prompts x G", "image / prompt / completion tokens", "TRL s",
              "ours s", "step ratio", "least wanted", "by the model", "policy ratio",
              "by the model", "of the limit", "quiet pairs")  # fmt: skip
    return markdown(header, [line(race) for race in races]) if races else ""


def line(race: Race) -> list[str]:
    """A line of the headline table."""
    setting, pairs = race.setting, counted(race)
    in_update, in_all = models(race)
    return [
        setting.title,
        race.shape.name,
        f"{setting.prompts} x {setting.generations}",
        f"{setting.image_tokens} / {race.prompt} / {setting.completion}",
        spread([pair.theirs.whole for pair in pairs]),
        spread([pair.ours.whole for pair in pairs]),
        f"**{spread(ratio(race, whole))}**",
        f"{setting.floor:g}" if setting.floor else "",
        f"{in_all:.2f}",
        spread(ratio(race, policy)),
        f"{in_update:.2f}",
        f"{of_light(race):.0%}",
        f"{sum(pair.quiet for pair in race.pairs)} of {len(race.pairs)}",
    ]


def parts(races: Sequence[Race]) -> str:
    """Median seconds of each part, TRL's and ours."""
    lines = []
    for race in races:
        pairs = counted(race)
        cells = [
            f"{median(pair.theirs.parts[part] for pair in pairs):.3f} / "
            f"{median(pair.ours.parts[part] for pair in pairs):.3f}"
            for part in PARTS
        ]
        lines.append([race.setting.title, *cells])
    return markdown(["TRL / ours, s", *PARTS], lines) if lines else ""


def left(races: Sequence[Race]) -> str:
    """What the limit is of each part of our step, and which share of it is reached."""
    lines = []
    for race in races:
        pairs = list(zip(lights(race), counted(race), strict=True))
        cells = []
        for part in pairs[0][0]:
            light = median(light[part] for light, _ in pairs)
            share = median(light[part] / pair.ours.parts[part] for light, pair in pairs)
            cells.append(f"{light:.3f} ({share:.0%})")
        lines.append([race.setting.title, *cells])
    if not lines:
        return ""
    told = (
        "The least seconds of each part of our step, and which share of its time they are. "
        "Sampling reads every matrix for a few rows only, and products of few rows are the "
        "slowest. Forward and backward lose to what the limit leaves out (norms, activations, "
        "softmax), and on a CPU to torch's own matrix products where the limit is that of a faster "
        "library. An optimizer that finds its numbers in the processor's cache needs less than the "
        "limit has it read."
    )
    return f"{told}\n\n{markdown(['setting', *lights(races[0])[0]], lines)}"


def counters(races: Sequence[Race]) -> str:
    """The counters of both sides, a line for each."""
    lines = []
    for race in races:
        theirs, ours = race.counts.get("theirs", {}), race.counts.get("ours", {})
        for name in sorted({**theirs, **ours}):
            lines.append([race.setting.title, name, theirs.get(name, 0), ours.get(name, 0)])
    return markdown(["setting", "counted", "TRL", "ours"], lines) if lines else ""


def equalities(races: Sequence[Race]) -> str:
    """How near the two sides' updates were."""
    lines = [
        [
            race.setting.title,
            "both" if race.checkpointing else "neither",
            f"{race.equality.logps:.1e}",
            f"{race.equality.gradient:.1e}",
            f"{1 - race.equality.cosine:.1e}",
        ]
        for race in races
    ]
    header = ("setting", "checkpointing", "largest difference of a log-probability",
              "relative difference of the gradients", "1 - cosine")  # fmt: skip
    return markdown(header, lines) if lines else ""


def memory(found: Measurement) -> str:
    """Peak memory of both sides, each in a process of its own."""
    if not found.memory:
        return ""
    lines = [
        [side, *(f"{value / 2**20:,.0f}" for value in (one.before, one.peak, one.step))]
        for side, one in found.memory.items()
    ]
    table = markdown(["LISA, MiB", "before the step", "peak", "of the step"], lines)
    share = found.memory["ours"].step / found.memory["theirs"].step
    return f"{table}\n\nOurs takes {share:.0%} of TRL's."


def ladder(found: Measurement) -> str:
    """Every rung's time, its factor to the one before, and to the first."""
    lines = []
    for number, rung in enumerate(found.ladder):
        below = found.ladder[max(number - 1, 0)].seconds
        first = found.ladder[0].seconds
        steps = [a / b for a, b in zip(below, rung.seconds, strict=True)]
        all_steps = [a / b for a, b in zip(first, rung.seconds, strict=True)]
        lines.append([rung.name, spread(rung.seconds), spread(steps), spread(all_steps)])
    told = (
        "LISA's pictures and prompts; half of the groups are tied, and the completions of a group "
        "are of 1/8, 2/8, ... 8/8 of the length. TRL checkpoints, as it does by default; each line "
        "has one lever more than the line before."
    )
    table = markdown(["with", "s", "factor", "of the first"], lines)
    return f"{told}\n\n{table}" if lines else ""


def growths(found: Measurement) -> str:
    """Times along each sweep beside the work that the cost model counts."""
    lines = []
    for sweep in found.growth:
        first = sweep.races[0]
        for race in sweep.races:
            lines.append([
                sweep.quantity,
                growth.value(sweep.quantity, race.setting),
                *grown(first, race),
                spread(ratio(race, whole)),
                f"{models(race)[1]:.2f}",
            ])  # fmt: skip
    header = ("what grows", "to", "TRL s", "times the first", "by the model", "ours s",
              "times the first", "by the model", "ratio", "by the model")  # fmt: skip
    return markdown(header, lines) if lines else ""


def learned(found: Measurement) -> str:
    """When both sides reached the goal, with each seed, and the picture of their curves."""
    if not found.learning:
        return ""
    lines = []
    for one in found.learning:
        ends = one.theirs.points[-1], one.ours.points[-1]
        lines.append([
            one.ours.seed,
            *(f"{end.seconds:.0f}" for end in ends),
            *(f"{end.reward:.3f}" for end in ends),
            f"{one.ours.points[0].reward:.3f}",
            f"{one.goal:.3f}",
            *map(after, one.seconds),
            f"{one.ratio:.1f}x" if one.ratio else "",
        ])  # fmt: skip
    header = ("seed", "TRL's seconds", "ours", "TRL's reward at the end", "ours at the end",
              "untrained", "goal", "TRL reaches it", "ours", "ratio")  # fmt: skip
    told = (
        f"The goal is {learning.SHARE:.0%} of what TRL gained by its end with the seed; both sides "
        f"take the steps of `{learning.CONFIG}` and are examined every {learning.EVERY} steps. "
        f"TRL's time over ours: {mean_ratio(found)}"
    )
    picture = f"![held-out reward over time]({measurement.name(found)}.svg)"
    return "\n\n".join([markdown(header, lines), told, picture])


def mean_ratio(found: Measurement) -> str:
    """The geometric mean of the ratios, its interval over seeds, and how many seeds have one."""
    ratios = [one.ratio for one in found.learning if one.ratio]
    count = f"{len(ratios)} of {len(found.learning)} seeds"
    if len(ratios) < 2:
        return f"{count} reached the goal on both sides."
    of_logs = over_seeds([math.log(one) for one in ratios])
    mean, low, high = map(math.exp, (of_logs.mean, of_logs.low, of_logs.high))
    return f"geometric mean {mean:.1f} (95 % {low:.1f} to {high:.1f}; {count})."


def after(seconds: float | None) -> str:
    """When a goal was reached, for a reader."""
    return "never" if seconds is None else f"after {seconds:.0f} s"


def draw(found: Measurement, folder: Path = HERE) -> list[Path]:
    """The curves of both sides with each seed."""
    drawn = publishing.figure(7, 3.2)
    axis = drawn.subplots()
    for one in found.learning:
        for curve, colour, label in ((one.ours, "C0", "vrft"), (one.theirs, "C1", "TRL")):
            seconds = [point.seconds for point in curve.points]
            rewards = [point.reward for point in curve.points]
            first = one is found.learning[0]
            axis.plot(seconds, rewards, colour, label=label if first else None)
    axis.set(xlabel="seconds of training", ylabel="held-out reward")
    axis.legend(frameon=False)
    return publishing.save_figure(drawn, folder, measurement.name(found))


def grown(first: Race, race: Race) -> list[str]:
    """Seconds of both sides, and how many times the sweep's first: measured and by the model."""
    cells = []
    for side, work in (("theirs", cost.theirs), ("ours", cost.ours)):
        seconds = [
            median(getattr(pair, side).whole for pair in counted(one)) for one in (first, race)
        ]
        works = [
            one.setting.prompts * work(one.shape, load(one), checkpointing=False).total
            for one in (first, race)
        ]
        cells += [
            f"{seconds[1]:.2f}", f"{seconds[1] / seconds[0]:.2f}", f"{works[1] / works[0]:.2f}",
        ]  # fmt: skip
    return cells


if __name__ == "__main__":
    main()
