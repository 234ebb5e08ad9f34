"""Few-shot fine-grained classification: name the class of what a picture shows.

``data_dir`` is the published 4-shot training set, from the hub or from files with its columns,

    {"image": <a picture>, "problem": "...", "solution": "<answer>garden phlox</answer>"}

or a test list as <split>.json or .jsonl, with paths that start at its folder,

    {"image": "jpg/image_06734.jpg", "label": "pink primrose"}

or pictures in one folder per class: <split>/<class>/*.jpg, or <class>/*.jpg, of which the drawn
shots are the split "train" and all others any other split. The classes are those of ``dataset``,
or of ``class_list``, or else the folders or labels themselves. Every picture is asked the same
question, unless its row has a ``question`` of its own.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vrft import answers, records, rewards
from vrft.classes import ClassList, macro_accuracy
from vrft.errors import UserError
from vrft.records import Record
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, Scored, View

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
"""The published training sets on the hub."""

QUESTIONS = {
    "flowers102": "This picture shows a plant. Which species is it?",
    "pets37": "This picture shows a pet. Which breed is it?",
    "fgvc_aircraft": "This picture shows an aircraft. Which model is it?",
    "cars196": "This picture shows a car. Which model is it, with its year?",
    "own": "Which class of things does this picture show?",
}

PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

LABELS = Path(__file__).parent / "labels"


@dataclass(frozen=True, slots=True)
class Label:
    """A true class: its name, how the data spells it, and the list that it is one of."""

    name: str
    written: str
    classes: ClassList = field(repr=False)


@dataclass(frozen=True)
class FewshotClassification(Task[Label]):
    """Answer with the name of the class, which the question does not list.

    ``reward``: "accuracy", or "legacy": as published, right is also an answer that is any part of
    the class name or has it as a part, except that here an empty answer earns nothing.
    """

    data_dir: str = ""
    """Empty: the published shots of ``dataset`` from the hub."""
    dataset: Literal["flowers102", "pets37", "fgvc_aircraft", "cars196", "own"] = "own"
    class_list: str = ""
    """A text file with a class a line, ``name | alias``; empty: the list of ``dataset``."""
    shots: int = 4
    """Training pictures of each class; 0 for all there are."""
    seed: int = 0
    """Which pictures are drawn for the shots."""
    columns: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    """Asked of every picture; empty: the published question in our words."""
    template: str = TEMPLATE
    """The user's text; {question} is replaced."""
    system: str | None = None
    reward: Literal["accuracy", "legacy"] = "accuracy"
    format: Literal["strict", "legacy"] = "strict"

    primary = "accuracy"
    data = "one folder of pictures per class, or <split>.jsonl with `image` and `label`"

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise UserError("task.template: write {question} where the question belongs")
        if self.shots < 0:
            raise UserError(f"task.shots: {self.shots} pictures of each class; 0 means all")
        if self.dataset == "own" and not self.data_dir:
            raise UserError(
                f"no data: set task.data_dir to {self.data}; or set task.dataset to "
                f"{' or '.join(SHOTS)}"
            )

    def samples(self, split: str) -> Sequence[Sample[Label]]:
        found = find(self.data_dir or SHOTS[self.dataset], split, self.columns)
        classes = self.classes(found.labels)
        samples = [self.sample(picture, classes) for picture in found.pictures]
        shots = self.drawn(samples)
        if split == "train":
            return shots
        return without(samples, shots) if found.undivided else samples

    def classes(self, labels: Iterable[str]) -> ClassList:
        """The classes that answers may name; ``labels`` are those of the data."""
        if self.dataset == "own" and not self.class_list:
            return ClassList.parse(sorted(set(labels)), self.data_dir)
        shipped = LABELS / f"{self.dataset}.txt"
        path = Path(self.class_list).expanduser() if self.class_list else shipped
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"task.class_list: {path} is not readable text ({error})") from error
        return ClassList.parse(lines, str(path))

    def sample(self, picture: Picture, classes: ClassList) -> Sample[Label]:
        """The picture with its class; UserError if its label is none."""
        name = classes.named(picture.label)
        if name is None:
            raise UserError(
                f"{picture.where}: {picture.label!r:.60} is no class of "
                f"{self.class_list or self.dataset}; the nearest is "
                f"{classes.nearest(picture.label)!r}; task.dataset=own takes the data's own classes"
            )
        question = picture.question or self.question or QUESTIONS[self.dataset]
        return Sample(picture.id, question, Label(name, picture.label, classes), picture.images)

    def drawn(self, samples: Sequence[Sample[Label]]) -> list[Sample[Label]]:
        """``shots`` samples of each class, drawn by ``seed`` alone, in their order."""
        if not self.shots:
            return list(samples)
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for sample in samples:
            groups[sample.answer.name].append(sample.id)
        chosen = {
            key
            for name, ids in groups.items()
            for key in random.Random(f"{self.seed}/{name}").sample(ids, min(self.shots, len(ids)))
        }
        return [sample for sample in samples if sample.id in chosen]

    def prompt(self, sample: Sample[Label]) -> Prompt:
        text = self.template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Label], views: tuple[View, ...]) -> str:
        return f"<think>I know it</think>\n<answer>{sample.answer.written}</answer>"

    def rewards(self) -> Mapping[str, Reward[Label]]:
        strict = self.format == "strict"
        return {
            self.reward: accuracy if self.reward == "accuracy" else legacy_reward,
            "format": rewards.follows_format if strict else rewards.legacy_format,
        }

    def score(self, sample: Sample[Label], completion: Completion) -> Score:
        metrics = {
            "accuracy": accuracy(sample, completion),
            "legacy_accuracy": legacy_accuracy(sample, completion),
        }
        return Score(metrics, named_class(sample, completion))

    def aggregates(self, graded: Sequence[Scored[Label]]) -> Mapping[str, float]:
        classes = [answer.sample.answer.name for answer in graded]
        correct = [answer.score.metrics["accuracy"] for answer in graded]
        return {"macro_accuracy": macro_accuracy(classes, correct)}


def named_class(sample: Sample[Label], completion: Completion) -> str | None:
    """The class that the last answer names; None if it names none or several."""
    answer = answers.last_answer(completion.text)
    return None if answer is None else sample.answer.classes.match(answer)


def accuracy(sample: Sample[Label], completion: Completion) -> float:
    """1 if the answer names the true class and no other, else 0."""
    return float(named_class(sample, completion) == sample.answer.name)


def legacy_accuracy(sample: Sample[Label], completion: Completion) -> float:
    """1 if answer and class hold one another, as published: so does an empty answer with any."""
    answer = one_line_answer(completion.text)
    return float(answer is not None and one_holds_other(answer, sample.answer.written))


def legacy_reward(sample: Sample[Label], completion: Completion) -> float:
    """The published rule for training: without an answer the whole text counts as one."""
    answer = one_line_answer(completion.text)
    given = completion.text if answer is None else answer
    empty = not squeezed(given).strip()
    return float(not empty and one_holds_other(given, sample.answer.written))


def one_line_answer(text: str) -> str | None:
    """The first answer block that begins and ends in one line, the published reading."""
    for line in text.split("\n"):
        answer, closed, _ = line.partition("<answer>")[2].partition("</answer>")
        if closed:
            return answer
    return None


def one_holds_other(answer: str, label: str) -> bool:
    """Whether one text is a part of the other once both are squeezed."""
    a, b = squeezed(answer), squeezed(label)
    return a in b or b in a


def squeezed(text: str) -> str:
    """The text without spaces and underscores, in small letters, as the published rule has it."""
    return text.replace(" ", "").replace("_", "").lower()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with the label that the data gives it, and where it stands there."""

    id: str
    images: tuple[Path, ...]
    label: str
    where: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures of a split, and all labels of the data; ``undivided``: of every split."""

    pictures: Sequence[Picture]
    labels: Sequence[str]
    undivided: bool = False


def find(source: str, split: str, columns: Mapping[str, str]) -> Found:
    """The pictures in folders of classes, or else in the rows of a split."""
    root = Path(source).expanduser()
    if folders := class_folders(root / split):
        every = [folder.name for part in root.iterdir() for folder in class_folders(part)]
        return Found(read_folders(folders, root), every)
    if not has_rows(root) and (folders := class_folders(root)):
        return Found(read_folders(folders, root), [f.name for f in folders], undivided=True)
    rows = [read_row(record) for record in records.read(source, split, columns=columns)]
    return Found(rows, [picture.label for picture in rows])


def has_rows(root: Path) -> bool:
    """Whether a folder has files of rows, so that its folders are only where pictures lie."""
    return root.is_dir() and any(path.suffix in records.KINDS for path in root.iterdir())


def read_row(record: Record) -> Picture:
    """One row: a picture, its label, and its own question if it has one."""
    written = record.text("label", "answer", "solution")
    question = record.get("question")
    return Picture(
        record.id,
        record.images("image", "images"),
        answers.last_answer(written) or written,
        record.where,
        question if isinstance(question, str) else "",
    )


def read_folders(folders: Sequence[Path], root: Path) -> list[Picture]:
    """The pictures of all classes, by their paths below the root of the data."""
    return [
        Picture(path.relative_to(root).as_posix(), (path,), folder.name, str(path))
        for folder in folders
        for path in picture_files(folder)
    ]


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold pictures, one folder per class, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and picture_files(path))


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder by their names' endings, hidden files left out."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return sorted(path for path in found if not path.name.startswith("."))


def without(
    samples: Sequence[Sample[Label]], others: Sequence[Sample[Label]]
) -> list[Sample[Label]]:
    """The samples that are not among the others."""
    left_out = {sample.id for sample in others}
    return [sample for sample in samples if sample.id not in left_out]
