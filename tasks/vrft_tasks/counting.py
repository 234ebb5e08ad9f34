"""Counting (CLEVR, SuperCLEVR): answer with the number of objects in a picture.

``data_dir`` is a hub id, a file or a folder with the rows of the published training set,

    {"image": <the picture>, "problem": "How many items ...", "solution": "<answer> 3 </answer>"}

of the published test list, whose paths start at its folder,

    {"image_path": "./images/superCLEVR_new_025199.png", "question": "How many different items ...",
     "ground_truth": 3}

or rows written by hand: {"id", "images": [paths], "question", "answer": 3}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vrft import answers, records, rewards
from vrft.errors import UserError
from vrft.records import Record
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, View

TEMPLATE = (
    "{question}\n"
    "First reason between <think> and </think>, then give the number between <answer> and "
    "</answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>the number</answer>"
)

WHOLE = re.compile(r"([0-9]{1,15})\.0+")
"""A whole number as pandas writes it into CSV beside rows without one."""

# As published, \d is a digit of any script. Possessive spaces and bounded digits keep it linear,
# and int() refuses more than 4,300 digits.
LEGACY_NUMBER = re.compile(r"<answer>\s*+(\d{1,1000}+)\s*+</answer>")


@dataclass(frozen=True)
class Counting(Task[int]):
    """Answering with the right number of objects, in digits.

    ``legacy_accuracy`` is the published score: the first answer block that holds nothing but
    digits counts, whatever follows it.
    """

    data_dir: str = "leonardPKU/clevr_cogen_a_train"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    template: str = TEMPLATE
    """The user's text; {question} is replaced."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    rows: int | None = None
    """Only the first rows of a split; from the hub no more are fetched."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""

    primary = "accuracy"
    data = "rows of CLEVR CoGenT as R1-V has them, or its list for SuperCLEVR beside images/"

    def __post_init__(self) -> None:
        check_template(self.template, "question")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"task.rows: expected at least 1, got {self.rows}")

    def samples(self, split: str) -> Sequence[Sample[int]]:
        rows = records.read(
            self.data_dir,
            split,
            columns=self.columns,
            limit=self.rows,
            encoding=self.encoding,
            config=self.config,
            allow_outside=self.allow_outside,
        )
        return records.read_each(rows, read_sample)

    def prompt(self, sample: Sample[int]) -> Prompt:
        text = self.template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[int], views: tuple[View, ...]) -> str:
        return f"<think>I count them one by one.</think>\n<answer>{sample.answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"accuracy": accuracy, "format": rewards.follows_format}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        metrics = {
            "accuracy": accuracy(sample, completion),
            "legacy_accuracy": float(legacy_count(completion.text) == sample.answer),
        }
        return Score(metrics, counted(completion.text))


def counted(text: str) -> int | None:
    """Return the number in the last answer block; None unless it holds exactly one, in digits."""
    answer = answers.last_answer(text)
    return None if answer is None else answers.whole_number(answer)


def accuracy(sample: Sample[int], completion: Completion) -> float:
    """Return 1 for the right number, else 0."""
    return float(counted(completion.text) == sample.answer)


def legacy_count(text: str) -> int | None:
    """Return the number in the first answer block of digits alone; None without such a block."""
    match = LEGACY_NUMBER.search(text)
    return None if match is None else int(match[1])


def read_sample(row: Record) -> Sample[int]:
    """Read one row in any of the forms."""
    written = row.text("answer", "solution", "ground_truth")
    # Published solutions are complete answers with tags; rows by hand give the bare number.
    text = answers.last_answer(written) or written
    decimal = WHOLE.fullmatch(text.strip())
    gold = int(decimal[1]) if decimal else answers.whole_number(text)
    if gold is None or gold < 0:
        raise row.error(f"the answer {written!r:.60} is no number of things; correct the row")
    question = row.text("question", "problem", "prompt")
    pictures = row.images("images", "image", "image_path", required=False)
    subset = str(row.get("subset") or "")
    return Sample(row.id, question, gold, pictures, subset, row.for_rewards(gold))
