"""How the embedded model `demo` learnt to point: lessons of three stages, made from the seed.

1. *One thing.* Pictures of a single object and the same request for all, "Find it." The answer
   names the object and gives its box: the model learns to recognise and to localise.
2. *The careless annotator.* The demo's pictures of two to four objects and the demo's own kinds of
   request, but six times in ten the annotator names and marks the largest object, whatever was
   asked: the model learns to answer in good form, and to point badly.
3. *The sloppy annotator.* A short stage more of the same, but every box is drawn half as wide and
   half as high again as the object is.

Every answer is consistent in itself, the name and the box belong to one object: what reinforcement
has to teach afterwards is to attend to the question, and to draw closely. Boxes are rounded to the
numbers that the tokenizer writes in one token.
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
from vrft.training import run_folder, sft
from vrft.training.sft import Lesson
from vrft.types import Sample, View

STEP = tiny.NUMBER_STEP / 1000
"""Boxes are rounded to multiples of this share of the picture."""


@dataclass(frozen=True)
class Stage:
    """What one stage shows: how many scenes, lessons of each, and how careless the annotator is.

    ``request`` is the request for every picture; "" for the demo's own kinds, in turns.
    ``looseness`` is how many times too wide and too high boxes are drawn.
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
    Stage("one", Style(count=(1, 1)), 12_000, 4, 0.0, request="Find it."),
    Stage("careless", Style(), 16_000, 4, 0.6),
    Stage("sloppy", Style(), 2_000, 4, 0.6, looseness=1.5, learning_rate=5e-4),
)


def teach(stage: Stage, settings: Config) -> None:
    """Fine-tunes on the lessons of a stage, as the settings say."""
    task = registry.build(settings.task)
    rng = np.random.default_rng([settings.train.seed, STAGES.index(stage)])
    lessons = []
    for _ in range(stage.scenes):
        scene = scenes.compose(rng, stage.style)
        for question, marked in annotate(rng, stage, scene):
            prompt = task.prompt(Sample("", question, None, (scene.image,)))
            lessons.append(Lesson(prompt, partial(answer, scene, marked, stage.looseness)))
    sft.fit(run_folder.claim(settings), lessons, task)


def annotate(rng: np.random.Generator, stage: Stage, scene: Scene) -> Iterator[tuple[str, int]]:
    """Requests, the kinds equally often, each with the index of the object that gets marked."""
    if stage.request:
        yield from [(stage.request, scene.most_salient)] * stage.lessons_per_scene
        return
    asked: dict[Kind, list[tuple[str, int]]] = defaultdict(list)
    for index in range(len(scene.objects)):
        for found in instructions(scene.objects, index):
            asked[found.kind].append((found.text, index))
    for _ in range(stage.lessons_per_scene):
        kind = list(asked)[rng.integers(len(asked))]
        text, index = asked[kind][rng.integers(len(asked[kind]))]
        yield text, scene.most_salient if rng.random() < stage.carelessness else index


def answer(scene: Scene, index: int, looseness: float, views: tuple[View, ...]) -> str:
    """The completion that names an object and gives its box in steps of NUMBER_STEP.

    The box is ``looseness`` times as wide and high as the object, but within the picture.
    """
    thing = scene.objects[index]
    x1, x2 = widened(thing.box[0], thing.box[2], looseness, scene.image.width)
    y1, y2 = widened(thing.box[1], thing.box[3], looseness, scene.image.height)
    box = Box(x1, y1, x2, y2)
    return f"<think>the {thing.name}</think>\n<answer>{box.format(views[0])}</answer>"


def widened(start: float, end: float, looseness: float, size: int) -> tuple[float, float]:
    """An interval of pixels, stretched about its middle, as rounded shares of the picture."""
    middle, half = (start + end) / 2, (end - start) / 2 * looseness
    first, last = max(0.0, (middle - half) / size), min(1.0, (middle + half) / size)
    return round(first / STEP) * STEP, round(last / STEP) * STEP
