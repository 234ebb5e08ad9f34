"""Few-shot fine-grained classification: name the class of what a picture shows.

``data_dir`` is the published 4-shot training set, from the hub or from files with its columns,

    {"image": <a picture>, "problem": "...", "solution": "<answer>garden phlox</answer>"}

or a test list as <split>.json or .jsonl, with paths that start at its folder,

    {"image": "jpg/image_06734.jpg", "label": "pink primrose"}

or pictures in one folder per class: <split>/<class>/*.jpg, or <class>/*.jpg, of which the drawn
shots are the split "train" and all others any other split. Whatever else lies in the folder of a
class is refused, but for texts, which a note counts. The classes are those of ``dataset``,
or of ``class_list``, or else the folders or labels themselves. Every picture is asked the same
question, unless its row has a ``question`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vrft import answers, paths, rewards
from vrft.classes import ClassList, macro_accuracy
from vrft.errors import UserError
from vrft.records.texts import read_text
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, Scored, View
from vrft_tasks._fewshot_classification import (
    Label,
    LabelledPicture,
    draw_shots,
    find,
    is_part,
    one_line_answer,
    squeezed,
)

TEMPLATE = (
    "{question}\n"
    "First reason between <think> and </think>, then give its name between <answer> and "
    "</answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>the name</answer>"
)

SHOTS = {
    "flowers102": "laolao77/ViRFT_CLS_flower_4_shot",
    "pets37": "laolao77/ViRFT_CLS_pets37_4shot",
    "fgvc_aircraft": "laolao77/ViRFT_CLS_fgvc_aircraft_4_shot",
    "cars196": "laolao77/ViRFT_CLS_car196_4shot",
}
"""Data set -> hub id of its published training set."""

QUESTIONS = {
    "flowers102": "This picture shows a plant. Which species is it?",
    "pets37": "This picture shows a pet. Which breed is it?",
    "fgvc_aircraft": "This picture shows an aircraft. Which model is it?",
    "cars196": "This picture shows a car. Which model is it, with its year?",
    "own": "Which class of things does this picture show?",
}

# Inside the package, so that the wheel has the lists too.
LABELS = Path(__file__).parent / "labels"


@dataclass(frozen=True)
class FewshotClassification(Task[Label]):
    """Answering with the name of the class, which the question does not list."""

    data_dir: str = ""
    """Empty: the published shots of ``dataset`` from the hub."""
    dataset: Literal["flowers102", "pets37", "fgvc_aircraft", "cars196", "own"] = "own"
    """The published data set, for its shots and list of classes; "own": those of ``data_dir``."""
    class_list: Path | None = None
    """A text file with a class a line, ``name | alias``; None: the list of ``dataset``."""
    shots: int = 4
    """Training pictures of each class; 0 for all there are."""
    seed: int = 0
    """The seed by which the shots are drawn."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    question: str = ""
    """Asked of every picture; empty: the published question in our words."""
    template: str = TEMPLATE
    """The user's text; {question} is replaced."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    reward: Literal["accuracy", "legacy"] = "accuracy"
    """The rule of a right answer. "legacy": as published, one is right too if it is any part of the
    class name or has the name as a part, except that here an empty answer earns nothing."""
    format: rewards.FormatRule = "strict"
    """Whether the reward "format" asks for our form of an answer, or for the published one."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""

    primary = "accuracy"
    data = "one folder of pictures per class, or <split>.jsonl with `image` and `label`"

    def __post_init__(self) -> None:
        check_template(self.template, "question")
        if self.shots < 0:
            raise UserError(f"task.shots: {self.shots} pictures of each class; 0 means all")
        if self.dataset == "own" and not self.data_dir:
            raise UserError(
                f"no data: set task.data_dir to {self.data}; or set task.dataset to "
                f"{' or '.join(SHOTS)}"
            )

    @property
    def source(self) -> str:
        """Return where the pictures are: the setting ``data_dir``, or the hub's published shots."""
        # __post_init__ has refused "own" without data, which has no published shots.
        return self.data_dir or SHOTS[self.dataset]

    def samples(self, split: str) -> Sequence[Sample[Label]]:
        labelled = find(
            self.source, split, self.columns, self.encoding, self.config, self.allow_outside
        )
        classes = self.classes(labelled.labels)
        samples = [self.sample(picture, classes) for picture in labelled.pictures]
        shots = draw_shots(samples, self.shots, self.seed)
        if split == "train":
            return shots
        if not labelled.undivided:
            return samples
        # Without splits the shots for training are taken out of every other split.
        ids = {sample.id for sample in shots}
        return [sample for sample in samples if sample.id not in ids]

    def classes(self, labels: Iterable[str]) -> ClassList:
        """Return the classes that answers may name; ``labels`` are those of the data."""
        # Folders and labels are their own classes; aliases take a list.
        if self.dataset == "own" and not self.class_list:
            return ClassList.parse(sorted(set(labels)), self.data_dir)
        shipped = LABELS / f"{self.dataset}.txt"
        path = paths.expanded(self.class_list) if self.class_list else shipped
        try:
            text = read_text(path, self.encoding if self.class_list else "")
        except UserError as error:
            raise UserError(f"task.class_list: {path} is not readable text ({error})") from error
        return ClassList.parse(text.splitlines(), str(path))

    def sample(self, picture: LabelledPicture, classes: ClassList) -> Sample[Label]:
        """Return the picture as a sample; raise UserError if its label is no class."""
        name = classes.named(picture.label)
        if name is None:
            raise UserError(
                f"{picture.where}: {picture.label!r:.60} is no class of "
                f"{self.class_list or self.dataset}; the nearest is "
                f"{classes.nearest(picture.label)!r}; task.dataset=own takes the data's own classes"
            )
        question = picture.question or self.question or QUESTIONS[self.dataset]
        label, columns = Label(name, picture.label, classes), picture.columns
        return Sample(picture.id, question, label, picture.images, columns=columns)

    def prompt(self, sample: Sample[Label]) -> Prompt:
        text = self.template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Label], views: tuple[View, ...]) -> str:
        return f"<think>I know it</think>\n<answer>{sample.answer.written}</answer>"

    def rewards(self) -> Mapping[str, Reward[Label]]:
        right = {"accuracy": accuracy, "legacy": legacy_reward}[self.reward]
        return {self.reward: right, "format": rewards.FORMATS[self.format]}

    def score(self, sample: Sample[Label], completion: Completion) -> Score:
        metrics = {
            "accuracy": accuracy(sample, completion),
            "legacy_accuracy": legacy_accuracy(sample, completion),
        }
        return Score(metrics, named_class(sample, completion))

    def aggregates(self, scored: Sequence[Scored[Label]]) -> Mapping[str, float]:
        classes = [answer.sample.answer.name for answer in scored]
        correct = [answer.score.metrics["accuracy"] for answer in scored]
        return {"macro_accuracy": macro_accuracy(classes, correct)}


def named_class(sample: Sample[Label], completion: Completion) -> str | None:
    """Return the class that the last answer names; None if it names none or several."""
    answer = answers.last_answer(completion.text)
    return None if answer is None else sample.answer.classes.match(answer)


def accuracy(sample: Sample[Label], completion: Completion) -> float:
    """Return 1 if the answer names the true class and no other, else 0."""
    return float(named_class(sample, completion) == sample.answer.name)


def legacy_accuracy(sample: Sample[Label], completion: Completion) -> float:
    """Return 1 if answer or class has the other as a part, as published; an empty answer has 1."""
    answer = one_line_answer(completion.text)
    return float(answer is not None and is_part(answer, sample.answer.written))


def legacy_reward(sample: Sample[Label], completion: Completion) -> float:
    """Return 1 by the published rule for training: the full text counts if there is no answer."""
    answer = one_line_answer(completion.text)
    given = completion.text if answer is None else answer
    # Not as published: there an empty answer earns the reward for every picture.
    empty = not squeezed(given).strip()
    return float(not empty and is_part(given, sample.answer.written))
