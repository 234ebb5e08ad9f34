"""The geometry task: published and hand-written rows, strict and published scores, attacks."""

import json
import pickle
from pathlib import Path

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.errors import UserError
from vrft.images import open_image
from vrft.numbers import Quantity
from vrft.types import Completion, Sample
from vrft_tasks.geoqa import GeoQa, Gold

HERE = RECORDS / "geoqa"
TASK = GeoQa(str(HERE))
TEST = GeoQa(str(HERE / "geoqa_test_prompts.jsonl"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def sample(gold: str) -> Sample[Gold]:
    return Sample("s", "What is ∠1?", Gold(gold, Quantity.parse(gold)))


def answered(text: str) -> Completion:
    return Completion(f"<think>so</think>\n<answer>{text}</answer>")


# --- reading


def test_the_published_training_rows_are_read() -> None:
    samples = TASK.samples("train")
    assert [(s.id, s.answer.text) for s in samples] == [
        ("0", "145°"),
        ("1", "4√{3}"),
        ("2", "30√{3}米"),
        # not a number: compared as text
        ("3", "right triangle"),
    ]
    assert samples[0].question.startswith("As shown, AB is parallel to CD")
    assert [s.answer.quantity is None for s in samples] == [False, False, False, True]
    # a palette, CMYK, transparency and grey: all open as RGB
    assert [open_image(s.images[0]).mode for s in samples] == ["RGB"] * 4


def test_the_published_test_list_is_read_with_its_paths() -> None:
    samples = TEST.samples("test")
    assert [s.answer.text for s in samples] == ["50°", "\\frac{√{3}}{2}", "4πcm", "(6+2√{3})海里"]
    assert all(s.answer.quantity is not None for s in samples)
    assert samples[2].images == (HERE / "Geo170K/images/test/2.png",)


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        # by hand, numbers as numbers; with other names of columns; as TRL wants them
        ({"id": "a", "images": ["a.png"], "question": "q", "answer": 3}, "3"),
        ({"images": "a.png", "question": "q", "answer": 22.5}, "22.5"),
        ({"img": "a.png", "problem": "q", "solution": "<answer>3cm</answer>"}, "3cm"),
        (
            {
                "images": ["a.png"],
                "prompt": [{"role": "user", "content": "q"}],
                "solution": "2√{3}",
            },
            "2√{3}",
        ),
    ],
)
def test_rows_written_by_hand_are_read(tmp_path: Path, row: dict[str, object], gold: str) -> None:
    Image.new("L", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    task = GeoQa(str(tmp_path), columns={"images": "img"} if "img" in row else {})
    (found,) = task.samples("train")
    assert (found.question, found.answer.text) == ("q", gold)
    assert found.answer.quantity is not None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"images": "a.png", "question": "q", "answer": "<answer> </answer>"}, "answer is empty"),
        ({"images": "a.png", "question": "q", "answer": ""}, "answer is empty"),
        ({"images": "a.png", "question": "q"}, "no answer or solution or ground_truth"),
        ({"images": "a.png", "answer": "3"}, "no question or problem or prompt"),
        ({"images": "b.png", "question": "q", "answer": "3"}, "no picture .*b.png"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, str], message: str) -> None:
    Image.new("L", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=rf"train\.jsonl: line 1: .*{message}"):
        GeoQa(str(tmp_path)).samples("train")


# --- asking


def test_the_prompt_asks_for_the_published_form_and_brings_the_figure() -> None:
    first = TASK.samples("train")[0]
    prompt = TASK.prompt(first)
    assert prompt.text.startswith(first.question + "\n")
    assert prompt.text.endswith("<think>your reasoning</think>\n<answer>the number</answer>")
    assert prompt.images == first.images


def test_the_template_is_a_setting() -> None:
    task = GeoQa(template="{question} Only the number.", system="Be brief.")
    assert task.prompt(sample("3")).text == "What is ∠1? Only the number."
    assert task.prompt(sample("3")).system == "Be brief."
    with pytest.raises(UserError, match=r"task\.template: write \{question\}"):
        GeoQa(template="What is it?")


def test_the_reference_earns_full_marks() -> None:
    for found in (*TASK.samples("train"), *TEST.samples("test")):
        completion = Completion(TASK.reference(found, ()))
        assert TASK.score(found, completion).metrics["accuracy"] == 1.0
        assert [reward(found, completion) for reward in TASK.rewards().values()] == [1.0, 1.0]


# --- rewards and scores

GRADED = [
    # gold, answer, right (None: unreadable)
    ("145°", "145°", True),
    ("145°", "145", True),
    ("145°", "∠2 = 145 degrees", True),
    ("145°", "$145^{\\circ}$", True),
    ("145°", "35°", False),
    ("145°", "145cm", False),
    # math-verify reads these golds as 2, as nothing, and as 4
    ("2√{3}", "2\\sqrt{3}", True),
    ("2√{3}", "2", False),
    ("\\frac{√{3}}{2}", "\\sqrt{3}/2", True),
    ("4πcm", "4", False),
    ("4πcm", "4\\pi", True),
    # units convert, Chinese ones too
    ("30√{3}米", "30√3 m", True),
    ("3米", "300cm", True),
    # no number, several, or nothing
    ("145°", "the number", None),
    ("145°", "35°, 145°", None),
    ("145°", "145 or 35", None),
    ("145°", "", None),
    ("145°", "١٤٥", None),
    # wrapped, with the letter of an option, as an equation
    ("145°", "So the answer is $145^\\circ$.", True),
    ("145°", "D. 145°", True),
    ("145°", "１４５°", True),
    ("145°", "180° - 35° = 145°", True),
    ("\\frac{3}{5}", "AB/AC = 3/5", True),
    ("\\frac{3}{5}", "60%", True),
    ("16", "2x = 16", None),
    # six digits of the root of 2
    ("√{2}", "1.41421", True),
    ("√{2}", "1.4142", False),
    ("145°", "1e999", None),
    ("145°", "9^{9^{9}}", None),
    # a gold in words
    ("right triangle", "Right  triangle", True),
    ("right triangle", "**Answer:** right triangle.", True),
    ("right triangle", "triangle", False),
]


@pytest.mark.parametrize(("gold", "text", "right"), GRADED)
def test_an_answer_is_right_by_its_value(gold: str, text: str, right: bool | None) -> None:
    assert TASK.rewards()["accuracy"](sample(gold), answered(text)) == float(right is True)
    score = TASK.score(sample(gold), answered(text))
    assert score.metrics["accuracy"] == float(right is True)
    assert (score.parsed is None) is (right is None)


def test_the_tolerance_is_a_setting() -> None:
    loose = GeoQa(tolerance=0.01)
    for task, right in ((loose, 1.0), (TASK, 0.0)):
        assert task.rewards()["accuracy"](sample("√{2}"), answered("1.41")) == right
        assert task.score(sample("√{2}"), answered("1.41")).metrics["accuracy"] == right
    assert loose.score(sample("√{2}"), answered("1.39")).metrics["accuracy"] == 0.0
    assert pickle.loads(pickle.dumps(loose.rewards()))["accuracy"](sample("√{2}"), answered("1.41"))


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(UserError, match=r"task\.tolerance: expected 0 or more and below 1"):
        GeoQa(tolerance=tolerance)


LEGACY = [
    # the last number of the reasoning counts, since one glued to its tags is not seen
    ("145", "<think>... = 50</think><answer>145°</answer>", 1.0, 0.0),
    ("145", "<think>The angle is 145°.</think> <answer>35</answer>", 0.0, 1.0),
    ("145", "<think>so</think><answer> 145 </answer>", 1.0, 1.0),
    # no tags at all
    ("145", "It is 145.", 0.0, 1.0),
    # a gold whose root is lost; one that is not read at all is never right
    ("2√{3}", "<answer> 2 </answer>", 0.0, 1.0),
    ("\\frac{√{3}}{2}", "<answer> \\frac{√{3}}{2} </answer>", 1.0, 0.0),
    # pi is dropped, and with it what makes 4 wrong
    ("4πcm", "<answer> 4 </answer>", 0.0, 1.0),
    # units and degrees are seen
    ("140°", "<answer> 140 </answer>", 1.0, 1.0),
    ("3cm", "<answer> 3 </answer>", 1.0, 1.0),
    ("145", "<answer>145.0</answer>", 1.0, 0.0),
    ("145", "", 0.0, 0.0),
]


@pytest.mark.parametrize(("gold", "text", "strict", "legacy"), LEGACY)
def test_the_published_score_reads_the_whole_text(
    gold: str, text: str, strict: float, legacy: float
) -> None:
    metrics = TASK.score(sample(gold), Completion(text)).metrics
    assert metrics == {"accuracy": strict, "legacy_accuracy": legacy}


def test_the_published_reward_also_takes_the_same_spelling() -> None:
    rewards = GeoQa(reward="legacy", format="legacy").rewards()
    assert list(rewards) == ["legacy", "format"]
    assert rewards["legacy"](sample("\\frac{√{3}}{2}"), answered("\\frac{√{3}}{2}")) == 1.0
    assert rewards["legacy"](sample("145"), Completion("It is 145.")) == 1.0
    assert rewards["legacy"](sample("145"), Completion("")) == 0.0
    assert rewards["format"](sample("145"), Completion("<think></think><answer></answer>")) == 1.0


ATTACKS = [
    "",
    "<answer></answer>",
    "<think></think><answer></answer>",
    "<think>145</think>",
    "145",
    "<answer>145",
    "<answer>" + ", ".join(str(n) for n in range(181)) + "</answer>",
    "<answer>1=2=145</answer>",
    TASK.prompt(sample("145")).text,
]


@pytest.mark.parametrize("text", ATTACKS)
def test_no_attack_earns_anything(text: str) -> None:
    completion = Completion(text)
    assert TASK.score(sample("145"), completion).metrics["accuracy"] == 0.0
    assert TASK.score(sample("145"), completion).parsed is None
    assert [reward(sample("145"), completion) for reward in TASK.rewards().values()] == [0.0, 0.0]


def test_the_last_of_repeated_blocks_counts_and_the_format_is_lost() -> None:
    text = "<think>a</think><answer>1</answer><think>b</think><answer>145</answer>"
    assert [r(sample("145"), Completion(text)) for r in TASK.rewards().values()] == [1.0, 0.0]


@pytest.mark.timeout(60)
def test_a_megabyte_of_text_is_scored_in_linear_time() -> None:
    for text in ("<answer>" * 125_000, "<answer>" + "9" * 1_000_000 + "</answer>", "(" * 1_000_000):
        rewards = [reward(sample("145"), Completion(text)) for reward in TASK.rewards().values()]
        assert rewards == [0.0, 0.0]


def test_task_and_sample_travel_to_other_processes() -> None:
    found = TASK.samples("train")[0]
    assert pickle.loads(pickle.dumps((TASK, found))) == (TASK, found)
