"""The math task: published rows, results in boxes, rewards by length, repeats, attacks."""

import json
import math
import pickle
from pathlib import Path
from typing import Literal

import pytest
from fakes.folders import RECORDS
from fakes.scripted import Scripted

from vrft import config, mathverify, registry
from vrft.checks.check import check
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig, TaskConfig
from vrft.errors import UserError
from vrft.evaluation import evaluate
from vrft.evaluation.benchmark import Benchmark, load_benchmark
from vrft.types import Completion, Sample, Turn
from vrft_tasks._math import bare, last_box
from vrft_tasks.math import (
    Gold,
    Math,
    accuracy,
    cosine_reward,
    final_result,
    follows_format,
    legacy_format,
    length_reward,
    spelling,
)

HERE = RECORDS / "math"
BENCHMARKS = {
    "aime24": ["033", "204"],
    "amc23": ["27", "-4.5"],
    "math500": [r"\left( 2, \frac{\pi}{2} \right)", r"\text{Ada}", r"\sqrt{13}", "[1,3]"],
    "minerva": ["9.8", "m g h"],
    "olympiadbench": ["3,-3", r"\frac{1}{2}", "1, 2, 4"],
}


@pytest.fixture(autouse=True, scope="module")
def _closed() -> object:
    yield
    mathverify.close()


def sample(result: str) -> Sample[Gold]:
    return Sample("s", "How many?", Gold(result))


def answered(result: str, tokens: int = 0) -> Completion:
    return Completion(f"<think>so</think>\n<answer>\\boxed{{{result}}}</answer>", tokens=tokens)


# --- reading


def test_open_s1_rows_are_read_with_their_solutions() -> None:
    samples = Math(str(HERE / "open_s1")).samples("train")
    # The answer where there is one, else the last box of the solution, braces and all.
    assert [s.answer.result for s in samples] == ["7", r"\frac{1}{2}", r"\{3, 4\}"]
    assert [s.id for s in samples] == ["0", "1", "2"]
    assert samples[0].question.startswith("A crate holds $12$ jars")
    assert samples[0].answer.solution.startswith("Of $12$ jars")


def test_parquet_of_math_lighteval_is_read_with_its_subjects() -> None:
    samples = Math(str(HERE / "math_lighteval")).samples("train")
    assert [s.answer.result for s in samples] == ["12", "-2, 2", r"90^\circ"]
    assert [s.subset for s in samples] == ["Prealgebra", "Algebra", "Geometry"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_reads_rows_of_its_published_form(name: str) -> None:
    benchmark = load_benchmark(name, data_dir=str(HERE / name))
    samples = registry.build(benchmark.task).samples(benchmark.split)
    assert [s.answer.result for s in samples] == BENCHMARKS[name]


@pytest.mark.parametrize(
    ("row", "result"),
    [
        # by hand, and a number as a number
        ({"id": "a", "question": "q", "answer": 3}, "3"),
        ({"question": "q", "answer": 0.5}, "0.5"),
        ({"question": "q", "answer": 5e-05}, "0.00005"),
        # pandas' empty cell
        ({"question": "q", "answer": float("nan"), "solution": r"so \boxed{4}"}, "4"),
        # as TRL wants them
        ({"prompt": [{"role": "user", "content": "q"}], "solution": "$42$"}, "42"),
        ({"prompt": "q", "solution": "<answer>42</answer>"}, "42"),
        # as GSM8K has them, and with the box in thoughts alone
        ({"question": "q", "answer": "3+4=<<3+4=7>>7\n#### 7"}, "7"),
        ({"question": "q", "answer": r"<think>\boxed{7}</think> It is seven."}, "7"),
        # without the braces of a box, as a few rows of MATH have it
        ({"problem": "q", "solution": r"So it is \boxed 2$."}, "2"),
        ({"problem": "q", "solution": r"So it is \fbox{2x}."}, "2x"),
        # short results that stand alone, and a long one in a box
        ({"problem": "q", "solution": "x = 3"}, "x = 3"),
        ({"problem": "q", "solution": "no real solutions"}, "no real solutions"),
        (
            {"problem": "q", "solution": r"It is \boxed{\text{a b}}. For n of all of these."},
            r"\text{a b}",
        ),
        # as DAPO-Math-17k has them in the columns of verl
        (
            {
                "prompt": [{"role": "user", "content": "q"}],
                "reward_model": {"ground_truth": "34", "style": "rule"},
            },
            "34",
        ),
        ({"prompt": "q", "reward_model": '{"ground_truth": 34}'}, "34"),
        # in the columns of another data set
        ({"query": "q", "gt": r"so it is \boxed{1}, no, \boxed{2}"}, "2"),
    ],
)
def test_rows_written_by_hand_are_read(tmp_path: Path, row: dict[str, object], result: str) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    columns = {"question": "query", "answer": "gt"} if "query" in row else {}
    (found,) = Math(str(tmp_path), columns=columns).samples("train")
    assert (found.question, found.answer.result) == ("q", result)


def test_a_row_without_an_answer_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"problem": "q", "answer": 1}\n{"problem": "q", "answer": ""}\n')
    with pytest.raises(UserError, match=r"train\.jsonl: line 2: no answer and no solution"):
        Math(str(path)).samples("train")
    for answer in ("Infinity", "[4, NaN]", "[4, null]", '{"value": 4}'):
        path.write_text(f'{{"problem": "q", "answer": {answer}}}\n')
        with pytest.raises(UserError, match=r"line 1: answer holds something else than texts and"):
            Math(str(path)).samples("train")


PROOF = "Assume n is odd. Then its square is odd, too. Hence n is even."


@pytest.mark.parametrize(
    "row",
    [
        {"solution": PROOF},
        {"solution": "2 + 2 = 4\nSo 4"},
        {"solution": "设 n 为奇数，则其平方为奇数。矛盾。故 n 为偶数。"},
        {"solution": PROOF, "answer": "proof"},  # as in NuminaMath-1.5
        {"answer": PROOF * 3},  # as in Orca-Math
        {"solution": r"Therefore the result of this sum is of course \boxed{3"},  # cut off
    ],
)
def test_derivations_without_a_result_are_counted_and_refused(
    row: dict[str, str], tmp_path: Path
) -> None:
    rows = [{"problem": "q", "answer": 4}, {"problem": "q", **row}, {"problem": "q", **row}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    complaint = (
        r"train\.jsonl: line 2: a derivation without a result .*; 2 of 3 rows are such: write each "
        "result into the column `answer`, or remove the rows"
    )
    with pytest.raises(UserError, match=complaint):
        Math(str(tmp_path)).samples("train")


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        # AIME_2024
        ({"ID": 1, "Problem": "q", "Solution": "s", "Answer": 7},
         "data.columns.answer=Answer data.columns.question=Problem"),
        ({"problem": "q", "final_answer": ["7"]}, "data.columns.answer=final_answer"),
        ({"problem": "q", "expected_answer": "7"}, "data.columns.answer=expected_answer"),
        ({"prompt": "q", "y": "7"}, "data.columns.answer=NAME"),
    ],
)  # fmt: skip
def test_a_result_in_another_column_is_asked_for_by_the_nearest_name(
    row: dict[str, object], settings: str, tmp_path: Path
) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    there = ", ".join(row)
    with pytest.raises(UserError) as error:
        Math(str(tmp_path)).samples("train")
    assert str(error.value).endswith(
        f"no answer and no solution; there is {there}; say which column it is by {settings}"
    )


def test_the_columns_of_aime_2024_can_be_named(tmp_path: Path) -> None:
    row = {"ID": 1, "Problem": "q", "Solution": "s", "Answer": 7}
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    task = Math(str(tmp_path), columns={"answer": "Answer", "question": "Problem"})
    (found,) = task.samples("train")
    assert (found.question, found.answer.result) == ("q", "7")


def test_rows_with_pictures_are_not_trained_blind(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"problem": "Find x.", "answer": 1, "image": "a.png"}\n')
    with pytest.raises(UserError, match=r"line 1: the column 'image' has a picture.*--task vqa"):
        Math(str(path)).samples("train")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$x$", "x"),
        ("$$ x $$", "x"),
        ("$1$ and $2$", "$1$ and $2$"),  # not one formula
        (r"\$5", r"\$5"),  # five dollars
        (r"<answer>\boxed{5}</answer>", "5"),
        ("$$", ""),
        ("$", ""),
    ],
)
def test_a_gold_text_is_laid_bare(text: str, result: str) -> None:
    assert bare(text) == result


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["$" * 400_000 + "x", ("$x" * 200_000) + "$", "x" + "$" * 400_000])
def test_a_gold_text_of_dollar_signs_is_laid_bare_in_linear_time(text: str) -> None:
    assert bare(text) == text


# --- asking


def test_the_prompt_names_the_contract_and_no_picture() -> None:
    prompt = Math("x").prompt(sample("1"))
    assert (prompt.text, prompt.images) == ("How many?", ())
    assert prompt.system is not None
    for part in ("<think>", "</think>", "<answer>", "</answer>", "\\boxed{"):
        assert part in prompt.system


def test_examples_are_earlier_turns_asked_as_the_question_is() -> None:
    task = registry.build(
        TaskConfig(
            "math", {"data_dir": "x", "template": "Solve: {question}", "examples": {"1+1?": "2"}}
        )
    )
    prompt = task.prompt(sample("1"))
    assert prompt.turns == (Turn("user", "Solve: 1+1?"), Turn("assistant", "2"))
    assert prompt.text == "Solve: How many?"


def test_benchmarks_ask_as_published() -> None:
    benchmark = load_benchmark("aime24", data_dir=str(HERE / "aime24"))
    prompt = registry.build(benchmark.task).prompt(sample("1"))
    assert prompt.system is None
    assert "\n\nHow many?" in prompt.text
    assert r"the final answer is: $\boxed{RESULT}$. I hope it is correct" in prompt.text
    assert benchmark.sampling == SamplingConfig(0.6, 0.95, max_completion_length=32768)


def test_the_published_averages_are_the_means_of_the_benchmarks() -> None:
    papers = [load_benchmark(name).paper for name in BENCHMARKS]
    averages = {
        "1.5B base": 48.9,
        "1.5B Open-RS1 (GRPO)": 53.1,
        "1.5B GPG-RS1": 55.7,
        "1.5B GPG-RS3": 55.5,
        "7B base": 30.9,
        "7B GRPO": 43.7,
        "7B Dr.GRPO": 43.7,
        "7B GPG": 45.3,
    }
    for method, average in averages.items():
        found = sum(paper[method] for paper in papers) / len(papers)
        assert found == pytest.approx(average, abs=0.11)  # published to one decimal
    assert all(paper.keys() == averages.keys() for paper in papers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "Solve."}, r"task\.template: write \{question\}"),
        ({"longest": 0}, r"task\.longest: expected at least 1 token"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.build(TaskConfig("math", {"data_dir": "x", **settings}))


# --- what is read of an answer


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (r"<think>\boxed{1}</think><answer>\boxed{2}</answer>", "2"),
        # without tags, as models answer that were never asked for them
        (r"We get $\boxed{2}$. I hope it is correct", "2"),
        # the reasoning was opened by the chat template
        (r"hm \boxed{1}</think> It is \boxed{2}", "2"),
        # several: the last is what the model settled on
        (r"\boxed{1} or rather \boxed{2}", "2"),
        (r"\boxed{\boxed{2}}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        # escaped braces are no braces
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        ("\\boxed {2}", "2"),
        # cut off in the reasoning, or in the box
        (r"<think>\boxed{2}", None),
        (r"<think>so</think> or <think>\boxed{2}", None),
        (r"<think>so</think>\boxed{2", None),
        (r"\boxed{1} \boxed{2", None),
        (r"<think>\boxed{2}</think><answer>2</answer>", None),
        (r"\boxed{ }", None),
        (r"\boxed 2", None),
        ("", None),
    ],
)
def test_the_result_is_in_the_last_box_after_the_reasoning(text: str, result: str | None) -> None:
    assert final_result(text) == result


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        ("x + 1.", "x+1"),
        (r"2\,000", "2000"),
        ("$5$", "5"),
        # what accuracy reads as the same
        ("90°", r"90^\circ"),
        ("(-∞, 3)", r"(-\infty, 3)"),
        ("x²", "x^{2}"),
        (r"50\text{ percent}", r"50\%"),
    ],
)
def test_looks_do_not_split_a_vote(one: str, other: str) -> None:
    assert spelling(one) == spelling(other)


@pytest.mark.parametrize("result", [r"\pi r", r"\leftarrow", "10{,}000"])
def test_what_has_a_meaning_is_still_told_apart(result: str) -> None:
    assert spelling(result) == result


# --- rewards


@pytest.mark.parametrize(
    ("gold", "result", "right"),
    [
        (r"\frac{1}{2}", "0.5", 1.0),
        (r"\frac{1}{2}", r"\frac{2}{3}", 0.0),
        ("033", "33", 1.0),
        ("-2, 2", r"\pm 2", 1.0),
        # to the last digit, as pairs and as percentages
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", 0.0),
        ("3,4", "(3,4)", 0.0),
        (r"18\%", "18", 0.0),
        # a full stop, full-width digits, dollar signs
        ("73", "73.", 1.0),
        ("7", "７", 1.0),
        ("7", "$7$", 1.0),
        # units that do not agree; a unit that is left out
        (r"5\text{ cm}", r"5\text{ m}", 0.0),
        (r"5\text{ cm}", r"5\text{ cm}", 1.0),
        (r"5\text{ cm}", "5", 1.0),
        (r"5\text{ hrs}", r"5\text{ hours}", 1.0),
        (r"7\text{ dollars}", r"7\text{ USD}", 1.0),
        (r"\$7", "7", 1.0),
        (r"\$7", r"7\text{ dollars}", 1.0),
        (r"\$7", r"7\text{ cents}", 0.0),
        (r"7\text{ apples}", r"7\text{ apple}", 1.0),
        (r"90^\circ", r"90\text{ rad}", 0.0),
        # without units math-verify decides: floats would lose the 1
        ("1", "10^{20}+1-10^{20}", 1.0),
        ("???", "???", None),  # an unreadable gold result: nobody is right or wrong
    ],
)
def test_accuracy_is_equality_of_meaning(gold: str, result: str, right: float | None) -> None:
    assert accuracy(sample(gold), answered(result)) == right


WORDS = [
    ("6:00 \\text{ PM}", "6:00\\text{ PM}", 1.0),
    ("6:00 PM", "6:00 \\text{ PM}", 1.0),
    ("4:30 \\text{ p.m.}", "4:30 p.m.", 1.0),
    ("\\text{June 20}", "June 20", 1.0),
    ("\\text{A and B}", "A and B", 1.0),
    ("\\text{I and III}", "I and III", 1.0),
    ("\\text{Column } 3", "\\text{Column 3}", 1.0),
    ("\\text{3 dogs and 2 cats}", "3 dogs and 2 cats", 1.0),
    ("6:00 \\text{ PM}", "6:30 \\text{ PM}", 0.0),
    ("\\text{June 20}", "June 2 0", 0.0),
    ("\\text{I and III}", "I and II", 0.0),
    ("\\text{Column } 3", "\\text{Column } 31", 0.0),
]


@pytest.mark.parametrize(("gold", "result", "right"), WORDS)
def test_the_same_words_are_right_in_whatever_frame(gold: str, result: str, right: float) -> None:
    assert accuracy(sample(gold), answered(result)) == right


@pytest.mark.parametrize(
    ("gold", "result"),
    [
        ("4.5e33", r"4.5 \times 10^{33}"),
        ("1e-3", "10^{-3}"),
        ("7e-5", "0.00007"),
        ("2000", "2e3"),
        ("1.6e-19", "1.6e-19"),
        (r"14\text{ million}", "14{,}000{,}000"),
        ("5000", r"5\text{ thousand}"),
        (r"50\%", r"50\text{ percent}"),
        (r"14\text{ million}", r"14\text{ million}"),
        (r"\$14\text{ million}", r"14\text{ million}"),
        (r"0\le x\le 1", "[0,1]"),
        (r"0\le x\le 1", r"x\in[0,1]"),
        ("3<x<5", r"x\in(3,5)"),
        ("0<k<1", "(0,1)"),
        (r"1 \le x < 3", "[1,3)"),
        ("2220", r"2\,220"),
        ("10000", r"10\,000"),
        ("10000", r"10\ 000"),
        ("10000", "10~000"),
        (r"90^\circ", "90°"),
        ("90", "90°"),
        (r"2\sqrt2", "2√2"),
        (r"\sqrt{5}", "√5"),
        ("x^2", "x²"),
        (r"(-\infty, 3)", "(-∞, 3)"),
        (r"5\cdot 10^{-4}", "5·10^{-4}"),
        ("10^{-6}", "10⁻⁶"),
        (r"\frac{6}{11}", r"0.\overline{54}"),
        (r"0.\overline{54}", r"0.\overline{54}"),
        (r"\frac{7}{15}", r"0.4\overline{6}"),
        (r"\frac13", r"0.\overline{3}"),
        (r"-\frac13", r"-0.\overline{3}"),
        ("2+3i", r"2+3\mathrm{i}"),
        ("10", r"10\text{ two-digit numbers}"),
        ("10", r"10\text{ times}"),
        ("5", r"5\text{ hundred-dollar bills}"),
        ("5000000", r"5\text{ million dollars}"),
        (r"5 \text{ cm}", "5"),
        ("5", r"5 \text{ apples}"),
        ("5e", r"5\mathrm{e}"),
        ("e^2", r"\mathrm{e}^2"),
        (r"2\text{ p.m.}", r"2\text{ p.m.}"),
        ("x=5", "5"),
        (r"\frac{1}{2}", "0.5"),
        ("12", r"12\text{ dollars and change}"),
        (r"\text{two}", r"\text{two}"),
        (r"3 \text{ and } 5", "3, 5"),
        ("3,5", r"3 \text{ and } 5"),
        ("2", r"x=2 \text{ or } x=2"),
    ],
)
def test_other_ways_of_writing_a_result_are_right(gold: str, result: str) -> None:
    assert accuracy(sample(gold), answered(result)) == 1.0


@pytest.mark.parametrize(
    ("gold", "result"),
    [
        ("3e8", "24e"),
        ("2e3", "6e"),
        ("1e-3", "e-3"),
        (r"14\text{ million}", "14"),
        (r"14\text{ million}", r"14\text{ thousand}"),
        ("5", r"5\text{ million}"),
        (r"12\text{ dozen}", "12"),
        ("5", r"5\text{ squared}"),
        ("5", r"5\text{ or more}"),
        (r"2\text{ p.m.}", r"2\text{ a.m.}"),
        ("50", r"50\text{ percent}"),
        ("18", r"18\%"),
        ("222", r"2\,220"),
        ("0", r"10\,000"),
        ("5", r"5\mathrm{i}"),
        ("5", r"5\text{i}"),
        (r"2\mathrm{i}", "2"),
        ("3", r"3\mathrm{e}"),
        ("5", r"5\mathrm{x}"),
        ("0.333", r"0.333\ldots"),
        ("321", r"321\ldots"),
        ("3<x<5", r"x\in[3,5]"),
        ("3<x<5", "(3,6)"),
        (r"0\le x\le 1", "(0,1)"),
        ("3", r"0.\overline{3}"),
        ("16", r"16\text{ ninths}"),
    ],
)
def test_results_that_only_look_alike_are_wrong(gold: str, result: str) -> None:
    assert accuracy(sample(gold), answered(result)) == 0.0


@pytest.mark.parametrize(
    ("tokens", "right", "wrong"),
    [
        # The published values of right and wrong answers, of 0, 250, 500 and 1000 of 1000.
        (0, 1.0, 0.0),
        (250, 0.9268, -0.0732),
        (500, 0.75, -0.25),
        (1000, 0.5, -0.5),
        (2000, 0.5, -0.5),  # published: 1.0 and 0.0 again
    ],
)
def test_the_length_reward_is_the_published_one_moved_to_zero_and_one(
    tokens: int, right: float, wrong: float
) -> None:
    assert 1.5 * length_reward(True, tokens, 1000) - 0.5 == pytest.approx(right, abs=1e-4)
    assert 1.5 * length_reward(False, tokens, 1000) - 0.5 == pytest.approx(wrong, abs=1e-4)


def test_the_cosine_reward_counts_tokens_and_not_characters() -> None:
    reward = Math("x", reward="cosine", longest=100).rewards()["cosine"]
    assert reward(sample("7"), answered("7", tokens=50)) == pytest.approx(2.5 / 3)
    assert reward(sample("7"), answered("8", tokens=50)) == pytest.approx(0.5 / 3)
    assert reward(sample("7"), answered("7", tokens=100_000)) == pytest.approx(2 / 3)


def test_no_answer_earns_nothing_however_short() -> None:
    assert cosine_reward(sample("7"), Completion("7", tokens=1), 100) == 0.0


def test_an_unreadable_gold_result_gives_no_reward_at_all() -> None:
    task = Math("x", reward="cosine")
    assert task.rewards()["cosine"](sample("???"), answered("7")) is None
    assert task.score(sample("???"), answered("7")).metrics["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("text", "strict", "legacy"),
    [
        (r"<think>a</think><answer>\boxed{1}</answer>", 1.0, 0.0),
        ("<think>\na\n</think>\n<answer>\n\\boxed{1}\n</answer>\n", 1.0, 1.0),
        # opened by the chat template
        ("a\n</think>\n<answer>so \\boxed{1}</answer>", 1.0, 1.0),
        ("a\n</think>\n\\boxed{1}", 0.0, 1.0),  # no answer block
        ("<think>\na\n</think>\n<answer>1</answer>", 0.0, 1.0),  # no box
        ("\n</think>\n<answer>\\boxed{1}</answer>", 0.0, 1.0),  # no reasoning
        ("a\n</think>\n\n</think>\n<answer>\\boxed{1}</answer>", 0.0, 0.0),
        ("\n</think>\n", 0.0, 1.0),
        ("", 0.0, 0.0),
    ],
)
def test_formats(text: str, strict: float, legacy: float) -> None:
    assert follows_format(sample("1"), Completion(text)) == strict
    assert legacy_format(sample("1"), Completion(text)) == legacy


def test_the_rewards_are_those_that_the_settings_name() -> None:
    assert list(Math("x").rewards()) == ["accuracy", "format"]
    assert list(Math("x", reward="cosine").rewards()) == ["cosine", "format"]
    assert Math("x", format="legacy").rewards()["format"] is legacy_format


def test_the_papers_configuration_weighs_rewards_that_exist() -> None:
    for name in ("math", "math/open_rs", "math/math_lighteval"):
        loaded = config.load(name)
        task = registry.build(loaded.task)
        assert set(loaded.algorithm.reward_weights) <= set(task.rewards())


# --- scores


def test_the_strict_score_reads_the_box_and_the_published_one_the_whole_output() -> None:
    task = Math("x")
    right = task.score(sample("7"), answered("7.0"))
    assert (right.metrics, right.parsed) == ({"accuracy": 1.0, "legacy_accuracy": 1.0}, "7.0")
    unboxed = task.score(sample("7"), Completion("the answer is 7"))
    assert (unboxed.metrics, unboxed.parsed) == ({"accuracy": 0.0, "legacy_accuracy": 1.0}, None)


PROMPT = Math("x").prompt(sample("7"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think></think><answer></answer>",
        "<think>7</think><answer>7</answer>",
        f"{PROMPT.system}\n{PROMPT.text}",
        "\\boxed{" + ", ".join(str(number) for number in range(10)) + "}",
        "\\boxed{7} or \\boxed{8}",
        "\\boxed{7} " * 3 + "\\boxed{8}",
        "\\boxed{7 \\text{ or } 8}",
        "\\boxed{1 < 7}",
        "\\boxed{\\text{any}}",
        "\\boxed{10^{10^{10^{10}}} - 10^{10^{10^{10}}} + 8}",
        "\\boxed{" + "7" * 1_000_000 + "}",
        "\\boxed{" * 200_000,
        "\\boxed{" + "{" * 1_000_000,
        "</think>" * 100_000 + "<answer>7</answer>",
        "\\boxed{٧}",  # an Arabic seven
        "\\boxed{\\text{not } 7}",
    ],
    ids=range(17),
)
def test_attacks_are_not_right(text: str) -> None:
    completion = Completion(text)
    assert accuracy(sample("7"), completion) == 0.0
    assert cosine_reward(sample("7"), completion, 100) in (0.0, 1 / 3)  # that of a wrong answer
    assert len(final_result(text) or "") <= 1000


def test_last_box_takes_a_megabyte_of_braces() -> None:
    assert last_box("\\boxed{" + "{}" * 500_000 + "}") is None  # longer than any result
    assert last_box("x" * 1_000_000 + "\\boxed{7}") == "7"


# --- together


@pytest.mark.parametrize("format", ["strict", "legacy"])
def test_the_task_travels_and_its_gold_answers_are_right(
    format: Literal["strict", "legacy"],
) -> None:
    task = Math(str(HERE / "open_s1"), reward="cosine", format=format)
    assert pickle.loads(pickle.dumps(task)) == task
    found = check(task, ["train"])
    assert found.ok, found.lines()
    assert found.splits[0].gold == {"reward cosine": 1.0, "reward format": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_gold_answers_of_the_benchmarks_are_right(name: str) -> None:
    task = Math(str(HERE / name))
    for one in task.samples(load_benchmark(name).split):
        reference = Completion(task.reference(one, ()))
        assert task.score(one, reference).metrics == {"accuracy": 1.0, "legacy_accuracy": 1.0}


def test_repeats_are_in_the_scores(tmp_path: Path) -> None:
    task = TaskConfig("math", {"data_dir": str(HERE / "aime24")})
    benchmark = Benchmark("aime", task=task, split="train", sampling=SamplingConfig(0.6), repeats=4)
    boxes = {
        "divided by $967$": ["\\boxed{33}", "\\boxed{033}", "\\boxed{5}", "I give up"],
        "between $0$ and $205$": ["\\boxed{205}", "\\boxed{204}", "\\boxed{205}", "\\boxed{1}"],
    }
    report = evaluate.run(benchmark, ModelConfig("scripted"), tmp_path, policy=Scripted(boxes))
    scores = json.loads((tmp_path / "scores.json").read_text())["metrics"]
    # 33 and 033 mean the same and are both right, but as votes they differ: 33, 033 and 5 tie.
    expected = {"avg@4": (2 + 1) / 8, "pass@2": (5 / 6 + 1 / 2) / 2, "pass@4": 1.0, "maj@4": 1 / 3}
    for name, value in expected.items():
        assert report.metrics[name].mean == scores[name]["mean"] == pytest.approx(value)
        assert (report.metrics[name].n, math.isnan(report.metrics[name].low)) == (2, False)
