"""Each lever's own factor: steps with all levers on and with one of them off, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.publishing import markdown
from benchmarks.speed import shapes, switches
from benchmarks.speed.contestant import Step
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.switches import Switch

ROUNDS = 3
"""Steps with a lever on, and as many with it off."""

SETTINGS = ("lisa", "geoqa", "mathematics", "tied")
"""The settings in which levers are tried unless others are asked for."""


@dataclass(frozen=True)
class Lever:
    """A thing that makes a step faster, and how it is switched ``off``.

    ``parts`` are those of a step which it is for. ``around`` holds with the lever on and off alike.
    It is tried in the settings that ``fits`` accepts.
    """

    name: str
    parts: tuple[str, ...]
    off: Switch
    around: Switch = lambda ours: nullcontext()
    fits: Callable[[Setting], bool] = lambda setting: setting.tied == 0


@dataclass(frozen=True)
class Trial:
    """The steps that were taken with a lever on and with it off, in turns."""

    setting: Setting
    shape: Shape
    lever: str
    parts: tuple[str, ...]
    on: tuple[Step, ...]
    off: tuple[Step, ...]

    @property
    def factor(self) -> float:
        """Return how much longer a step takes without the lever: the median over turns."""
        return median(off.whole / on.whole for on, off in zip(self.on, self.off, strict=True))

    @property
    def factor_of_parts(self) -> float:
        """Return how much longer the lever's own parts of a step take without it."""
        return median(
            sum(off.parts[part] for part in self.parts) / sum(on.parts[part] for part in self.parts)
            for on, off in zip(self.on, self.off, strict=True)
        )


def has_pictures(setting: Setting) -> bool:
    """Tell whether a setting has pictures, and no tied groups."""
    return setting.pictures > 0 and not setting.tied


UPDATE = ("forward", "backward")

LEVERS = (
    Lever("a prompt once for its group, sampling", ("rollout",),
          partial(switches.repeated_prompts, method="sample")),
    Lever("a prompt once for its group, update", UPDATE,
          partial(switches.repeated_prompts, method="logps")),
    Lever("vision tower once for a group", ("rollout", *UPDATE), switches.repeated_vision,
          fits=has_pictures),
    Lever("a picture prepared once", ("preprocessing",), switches.repeated_processing,
          fits=has_pictures),
    Lever("prompts of a step sampled together", ("rollout",), switches.prompts_apart),
    Lever("oneDNN's products while sampling", ("rollout",), switches.plain_products),
    Lever("rows that have ended leave", ("rollout",), partial(switches.strategy, idle_share=1.0),
          around=switches.early_ends),
    Lever("logits of completions only", UPDATE, switches.logits_of_prompts),
    Lever("the rollout's vision passes in the update", ("rollout", *UPDATE),
          switches.own_vision_passes, fits=has_pictures),
    Lever("oneDNN's products in the update", UPDATE,
          partial(switches.update_layers, products=False)),
    Lever("activations made again", UPDATE, partial(switches.update_layers, activations=False)),
    Lever("the head's gradient in place", UPDATE, partial(switches.update_layers, head=False)),
    Lever("a decode step of the fewest operations", ("rollout",),
          partial(switches.strategy, fused=False)),
    Lever("no checkpointing", UPDATE, switches.checkpoints),
    Lever("tied groups are not updated on", UPDATE, switches.every_group,
          fits=lambda setting: setting.tied > 0),
)  # fmt: skip
"""A line for each lever."""


def measure(setting: Setting, shape: Shape, rounds: int = ROUNDS) -> tuple[Trial, ...]:
    """Take the steps of every lever that fits a setting: one of each in each round, in turns."""
    shape = shape.reading(setting.pictures)
    levers = [lever for lever in LEVERS if lever.fits(setting)]
    questions = Questions(setting, steps=1 + 2 * rounds * len(levers))
    ours = Ours(questions, shapes.written(shape, "cpu"), "cpu")
    ours.step()  # what is set up at the first step
    steps: dict[str, tuple[list[Step], list[Step]]] = {lever.name: ([], []) for lever in levers}
    for _ in range(rounds):
        for lever in levers:
            on, off = steps[lever.name]
            with ExitStack() as changed:
                changed.enter_context(lever.around(ours))
                on.append(ours.step())
                changed.enter_context(lever.off(ours))
                off.append(ours.step())
    return tuple(
        Trial(setting, shape, lever.name, lever.parts, *map(tuple, steps[lever.name]))
        for lever in levers
    )


def section(trials: Sequence[Trial]) -> str:
    """Render the factors of all levers, a lever a row; "" without any."""
    lines = [
        [
            trial.setting.title,
            trial.lever,
            f"{median(step.whole for step in trial.on):.2f}",
            f"{median(step.whole for step in trial.off):.2f}",
            f"**{trial.factor:.2f}**",
            f"{trial.factor_of_parts:.2f}",
            " and ".join(trial.parts),
        ]
        for trial in trials
    ]
    header = ("setting", "lever", "step with it, s", "without, s", "factor", "of its parts",
              "its parts")  # fmt: skip
    explanation = (
        "Steps with all levers on and with one of them off were taken in turns; a factor is the "
        "median over turns of the time without the lever over that with it."
    )
    return f"{explanation}\n\n{markdown(header, lines)}" if lines else ""
