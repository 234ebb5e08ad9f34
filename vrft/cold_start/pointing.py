"""Lessons by which the embedded model `demo` learnt to point: three stages, made from the seed.

1. *One object.* Pictures of a single object and the same request for all, "Find it." The answer
   names the object and gives its box: the model learns to recognise and to localise.
2. *The careless annotator.* The demo's pictures of two to four objects and the demo's own kinds of
   request, but six times in ten the annotator names and marks the largest object, whatever was
   asked: the model learns to answer in good form, and to point badly.
3. *The sloppy annotator.* A short stage more of the same, but every box is drawn half as wide and
   half as high again as the object is.

Every answer is consistent in itself, as name and box belong to one object: what is left to
reinforcement is to attend to the question, and to draw closely. Boxes are rounded to the numbers
that the tokenizer writes in one token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from vrft import registry
from vrft.boxes import Box
from vrft.config.schema import Config
from vrft.demo import scenes, tiny
from vrft.demo.instructions import Kind, instructions
from vrft.demo.scenes import Scene, Style
from vrft.sft import fine_tune
from vrft.sft.lessons import Lesson
from vrft.types import Sample, View

STEP = tiny.NUMBER_STEP / 1000
"""Step of the edges of boxes, as a share of the picture."""


@dataclass(frozen=True)
class PointingStage:
    """A stage of lessons: its scenes, the lessons on each, and how careless the annotator is.

    ``request`` is the request for every picture; "" stands for the demo's own kinds, chosen at
    random. ``looseness`` is how many times too wide and too high boxes are drawn.
    """

    name: str
    style: Style
    scenes: int
    lessons_per_scene: int
    carelessness: float
    request: str = ""
    looseness: float = 1.0
    learning_rate: float = 1e-3


STAGES = (
    PointingStage("one", Style(count=(1, 1)), 12_000, 4, 0.0, request="Find it."),
    PointingStage("careless", Style(), 16_000, 4, 0.6),
    PointingStage("sloppy", Style(), 2_000, 4, 0.6, looseness=1.5, learning_rate=5e-4),
)
"""Stages in their order; a stage's index is a part of its random seed."""


def teach(stage: PointingStage, settings: Config) -> None:
    """Fine-tune the model of the settings on the lessons of a stage, into their run folder."""
    task = registry.build(settings.task)
    rng = np.random.default_rng([settings.train.seed, STAGES.index(stage)])
    lessons = []
    for _ in range(stage.scenes):
        scene = scenes.compose(rng, stage.style)
        for question, marked in annotate(rng, stage, scene):
            prompt = task.prompt(Sample("", question, None, (scene.image,)))
            # The answer is written when the lesson is encoded, as its numbers depend on the size at
            # which the model sees the picture.
            lessons.append(Lesson(prompt, partial(answer, scene, marked, stage.looseness)))
    fine_tune.fit(settings, lessons, task)


def annotate(
    rng: np.random.Generator, stage: PointingStage, scene: Scene
) -> Iterator[tuple[str, int]]:
    """Yield requests, the kinds equally often, each with the index of the object to be marked."""
    if stage.request:
        yield from [(stage.request, scene.most_salient)] * stage.lessons_per_scene
        return
    by_kind: dict[Kind, list[tuple[str, int]]] = defaultdict(list)
    for index in range(len(scene.objects)):
        for instruction in instructions(scene.objects, index):
            by_kind[instruction.kind].append((instruction.text, index))
    for _ in range(stage.lessons_per_scene):
        # First the kind, then a request of it: kinds are equally frequent, however many requests of
        # each the scene allows.
        kind = list(by_kind)[rng.integers(len(by_kind))]
        text, index = by_kind[kind][rng.integers(len(by_kind[kind]))]
        yield text, scene.most_salient if rng.random() < stage.carelessness else index


def answer(scene: Scene, index: int, looseness: float, views: tuple[View, ...]) -> str:
    """Return the completion that names an object and gives its box in steps of NUMBER_STEP.

    The box is ``looseness`` times as wide and high as the object, but within the picture.
    """
    marked = scene.objects[index]
    x1, x2 = stretched(marked.box[0], marked.box[2], looseness, scene.image.width)
    y1, y2 = stretched(marked.box[1], marked.box[3], looseness, scene.image.height)
    box = Box(x1, y1, x2, y2)
    return f"<think>the {marked.name}</think>\n<answer>{box.format(views[0])}</answer>"


def stretched(start: float, end: float, looseness: float, size: int) -> tuple[float, float]:
    """Return an interval of pixels, stretched about its middle, in shares of ``size`` and STEPs."""
    middle, half = (start + end) / 2, (end - start) / 2 * looseness
    low, high = max(0.0, (middle - half) / size), min(1.0, (middle + half) / size)
    return round(low / STEP) * STEP, round(high / STEP) * STEP
