"""Gold answers that are misread, rounded or blank, garbage that earns something, and workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fakes.folders import RECORDS
from fakes.naming import Naming

from vrft.boxes import Box
from vrft.checks import gold_answers
from vrft.checks.samples import OpenedSample
from vrft.errors import UserError
from vrft.formats.rows import read_canonical
from vrft.numbers import Quantity
from vrft.records import Record
from vrft.rewards import legacy_format, with_rewards
from vrft.task import Reward
from vrft.types import Completion, Sample, Score, View
from vrft_tasks._vqa_answers import Rules
from vrft_tasks.geoqa import GeoQa, Gold
from vrft_tasks.lisa_grounding import LisaGrounding, Target
from vrft_tasks.vqa import Vqa, read_sample

SIZE = (84, 56)


def opened(task: Naming) -> list[OpenedSample[str]]:
    """Return the samples of the task, with one picture of SIZE each."""
    return [OpenedSample(sample, (), (SIZE,)) for sample in task.samples("train")]


def problems(task: Naming) -> list[str]:
    """Return the problems of the task's gold answers."""
    _, findings = gold_answers.try_gold_answers(task, opened(task))
    assert not findings.notes
    return [str(problem) for problem in findings.problems]


@pytest.mark.parametrize(
    ("answer", "question", "unexplained"),
    [
        ("B", "What is angle ABC?", True),
        ("B", "What is it? (A) 35° (B) 145°", False),
        ("B", "What is it? A. 35° B. 145°", False),
        ("B", "What is it?\nA: 35°\nB: 145°", False),
        # the other letter, a name within a word, no letter of an option
        ("B", "What is it? (A) 35° (C) 145°", True),
        ("B", "What is AB: a side?", True),
        ("x", "Which unknown?", False),
        ("145", "What is it?", False),
        (None, "What is it?", False),
    ],
)
def test_a_letter_that_the_question_does_not_explain_is_told_apart(
    answer: str | None, question: str, unexplained: bool
) -> None:
    assert gold_answers.is_unexplained_letter(answer, question) is unexplained


def test_letters_as_gold_answers_of_a_geometry_are_noted() -> None:
    samples = [
        Sample(str(number), "What is angle ABC?", Gold(text, Quantity.parse(text)))
        for number, text in enumerate(["145°", "B", "C"])
    ]
    answered = [OpenedSample(sample, (), ()) for sample in samples]
    _, findings = gold_answers.try_gold_answers(GeoQa(), answered)
    (note,) = findings.notes
    assert not findings.problems
    assert "2 " in str(note) and "have a letter as their gold answer" in str(note)


def test_a_letter_whose_option_the_prompt_lists_is_not_noted() -> None:
    columns = {"id": "a", "question": "Which?", "options": ["red", "blue"], "answer": "A"}
    row = read_canonical(Record(columns, "rows.jsonl: line 1", 0))
    sample = read_sample(row, "option", Rules())
    _, findings = gold_answers.try_gold_answers(Vqa(""), [OpenedSample(sample, (), ())])
    assert "A" in Vqa("").reference(sample, ()) and not findings.notes


def test_gold_answers_with_a_missing_reward_are_counted() -> None:
    given = {"given": lambda sample, completion: float("nan")}
    task: Any = with_rewards(Naming(), given, "none")
    means, findings = gold_answers.try_gold_answers(task, opened(task))
    assert not findings.problems and "reward given" not in means
    (note,) = findings.notes
    assert str(note) == (
        "2 have a reward for their gold answer that is no finite number, and counts as None by "
        "algorithm.missing_rewards=none: a, b"
    )
    assert not gold_answers.try_garbage(task, opened(task)[0]).problems
    refusing: Any = with_rewards(Naming(), given)
    with pytest.raises(UserError, match="missing_rewards=none counts such values"):
        gold_answers.try_gold_answers(refusing, opened(task))


def test_gold_answers_earn_their_means_by_name() -> None:
    means, findings = gold_answers.try_gold_answers(Naming(), opened(Naming()))
    assert means == {"reward right": 1.0, "reward format": 1.0, "right": 1.0}
    assert not findings.problems and not findings.notes


MISREAD = "2 have a gold answer that earns no full marks: a, b"


@pytest.mark.parametrize(
    "gold",
    [
        # the parser wants the bare colour; the format wants a thought
        "<think>look</think><answer>The {answer} one</answer>",
        "<answer>{answer}</answer>",
    ],
)
def test_a_gold_answer_that_any_reward_refuses_is_a_problem(gold: str) -> None:
    assert problems(Naming(gold=gold)) == [MISREAD]


# A gold answer, and whether something is said in it.
SAYINGS = [
    ("red", True),
    # a letter, a digit, a symbol, words of other scripts
    ("(B)", True),
    ("7", True),
    ("∅", True),
    ("$+$", True),
    ("红", True),
    # spaces, dots, brackets, dashes, a space without width
    ("...", False),
    ("( )", False),
    ("—", False),
    ("\u200b", False),
]


@pytest.mark.parametrize(("answer", "something"), SAYINGS)
def test_gold_answers_that_say_nothing_are_a_problem(answer: str, something: bool) -> None:
    complaint = "2 have a gold answer without a letter, digit or symbol: a, b"
    assert problems(Naming(answer=answer)) == ([] if something else [complaint])


def test_gold_answers_are_tried_in_every_space() -> None:
    seen = set()

    @dataclass(frozen=True)
    class Watching(Naming):
        def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
            seen.update(views)
            return super().reference(sample, views)

    gold_answers.try_gold_answers(Watching(), opened(Watching()))
    assert seen == {View(84, 56, "thousandths"), View(84, 56, "pixels")}


def test_small_boxes_that_lose_by_rounding_are_noted_and_no_problem() -> None:
    # 2.48 thousandths are written as 2: an IoU of 2 / 2.48 = 0.81
    box = Box(0.1, 0.1, 0.10248, 0.9)
    task = LisaGrounding(RECORDS / "reasonseg")
    thin: Sample[Target] = replace(task.samples("val")[0], id="thin", answer=Target(box, box))
    # so many pixels that their rounding costs less than that of thousandths
    _, findings = gold_answers.try_gold_answers(task, [OpenedSample(thin, (), ((10_000, 10_000),))])
    assert not findings.problems
    (note,) = findings.notes
    assert str(note) == "1 lose more than 5 % of full marks by rounding to whole numbers: thin"


@pytest.mark.parametrize(
    ("edge", "overlap"),
    [
        (0.6, 1.0),  # in whole thousandths and in whole pixels of 1000 x 1000
        (0.5996, 0.9992),  # written as 600: 499.6 of 500
    ],
)
def test_a_box_that_loses_a_little_by_whole_numbers_is_said_to(edge: float, overlap: float) -> None:
    box = Box(0.1, 0.1, edge, 0.9)
    task = LisaGrounding(RECORDS / "reasonseg")
    sample: Sample[Target] = replace(task.samples("val")[0], id="box", answer=Target(box, box))
    answered = OpenedSample(sample, (), ((1000, 1000),))
    means, findings = gold_answers.try_gold_answers(task, [answered])
    assert means["reward iou"] == pytest.approx(overlap)
    assert not findings.problems
    assert [str(note) for note in findings.notes] == [
        "1 earn less than full marks, though by no more than 5 %, as their boxes are written in "
        "whole thousandths or pixels: no answer could earn more: box"
    ] * (overlap < 1)


def test_a_loss_that_whole_numbers_do_not_explain_is_not_put_down_to_them() -> None:
    box = Box(0.1, 0.1, 0.6, 0.9)
    task = LisaGrounding(RECORDS / "reasonseg")
    sample: Sample[Target] = replace(task.samples("val")[0], id="box", answer=Target(box, box))
    answered = OpenedSample(sample, (), ((1000, 1000),))

    def shy(sample: object, completion: object) -> float:
        return 0.99

    @dataclass(frozen=True)
    class Shy(LisaGrounding):
        def rewards(self) -> Mapping[str, Reward[Target]]:
            return {"iou": shy}

    means, findings = gold_answers.try_gold_answers(Shy(RECORDS / "reasonseg"), [answered])
    assert means["reward iou"] == pytest.approx(0.99) and not findings.notes


def test_garbage_that_earns_or_is_read_is_a_problem() -> None:
    sound, lax = Naming(), Naming(strict=False)
    assert not gold_answers.try_garbage(sound, opened(sound)[0]).problems
    texts = [str(problem) for problem in gold_answers.try_garbage(lax, opened(lax)[0]).problems]
    assert "the answer '' earns 1 of reward right" in texts
    assert "the answer '<think>???</think><answer></answer>' is read as 'red'" in texts


@dataclass(frozen=True)
class Lenient(Naming):
    """A task whose format reward is the published one, which an empty answer satisfies."""

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"right": self.right, "format": legacy_format}


def test_a_lenient_format_may_pay_for_an_empty_answer() -> None:
    task, (sample, *_) = Lenient(), opened(Lenient())
    empty = Completion(gold_answers.EMPTY_ANSWER)
    assert task.rewards()["format"](sample.sample, empty) == 1.0
    assert not gold_answers.try_garbage(task, sample).problems


@dataclass(frozen=True)
class Elsewhere(Naming):
    """A task whose reward is higher in any process but that of ``home``."""

    home: int = 0

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"right": self.away}

    def away(self, sample: Sample[str], completion: Completion) -> float:
        return float(os.getpid() != self.home)


def test_rewards_must_be_the_same_in_another_process() -> None:
    sound, other = Naming(), Elsewhere(home=os.getpid())
    assert not gold_answers.try_other_process(sound, opened(sound)[0]).problems
    (problem,) = gold_answers.try_other_process(other, opened(other)[0]).problems
    assert str(problem) == "rewards in another process differ from those here"


def test_a_task_that_cannot_be_pickled_is_a_problem() -> None:
    @dataclass(frozen=True)
    class Local(Naming):
        pass

    (problem,) = gold_answers.try_other_process(Local(), opened(Local())[0]).problems
    assert str(problem).startswith("the task does not work in another process: ")
    assert "Local" in str(problem)


def test_a_metric_that_empty_answers_lack_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Naming.score

    def score(task: Naming, sample: Sample[str], completion: Completion) -> Score:
        given = whole(task, sample, completion)
        length = {} if given.parsed is None else {"length": 1.0}
        return replace(given, metrics={**given.metrics, **length})

    monkeypatch.setattr(Naming, "score", score)
    task = Naming()
    (asked,) = opened(task)[:1]
    with pytest.raises(UserError, match=r"no metric 'length', which its gold answer has; give"):
        gold_answers.try_garbage(task, asked)
    monkeypatch.setattr(Naming, "score", lambda *given: Score({}, None))
    with pytest.raises(UserError, match=r"no metric '\w+', which is the task's `primary`"):
        gold_answers.try_garbage(task, asked)


def test_a_primary_that_is_no_metric_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Naming, "primary", "nothing")
    task = Naming()
    (asked,) = opened(task)[:1]
    with pytest.raises(UserError, match=r"no metric 'nothing', which is the task's `primary`; th"):
        gold_answers.try_gold_answers(task, [asked])
