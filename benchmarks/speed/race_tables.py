"""The tables of races: times of both sides, their ratios, our distance from the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.publishing import markdown
from benchmarks.speed import cost, counters, limit
from benchmarks.speed.contestant import PARTS, Step
from benchmarks.speed.cost import Load
from benchmarks.speed.race import Pair, Race
from benchmarks.speed.settings import SETTINGS, Setting

LIMIT = """The least seconds of each part of our step, and which share of its time they are. \
Sampling reads every matrix for a few rows only, and products of few rows are the slowest. Forward \
and backward lose to what the limit leaves out (norms, activations, softmax), and on a CPU to \
torch's own matrix products where the limit is that of a faster library. An optimizer that finds \
its numbers in the processor's cache needs less than the limit has it read."""

LIMITED = ("rollout", "forward", "backward", "optimizer")
"""The parts of a step that have a limit: pictures are prepared by another library."""


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
            misses.append(f"{share:.1%} of the limit where {goal.of_limit:.0%} is wanted")
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
