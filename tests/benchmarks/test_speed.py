"""The speed benchmark: both sides do the same, ours with as little as there is to do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.speed import cost, equality, ladder, learning, limit, measurement, report, shapes
from benchmarks.speed.cost import Load
from benchmarks.speed.counters import counting
from benchmarks.speed.equality import EXACT, Equality
from benchmarks.speed.ladder import Rung, climb, levered, rungs
from benchmarks.speed.learning import Comparison, Curve, Point
from benchmarks.speed.limit import Machine
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.memory import Memory
from benchmarks.speed.pairs import Pair, Plan, Race, race
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import SETTINGS, Setting
from benchmarks.speed.shapes import SHAPES
from benchmarks.speed.watch import Clock, Step
from vrft.errors import UserError

pytestmark = pytest.mark.filterwarnings(  # TRL asks transformers by names that are old by now
    "ignore:.*gradient_checkpointing.*is deprecated:FutureWarning"
)

SEEN = Setting("test", "pictures", 12, 6, 3, 4, generations=4, prompts=2)
"""Two prompts with one picture of 12 image tokens (48 patches) each, and four completions of 6."""

SHAPE = SHAPES["test"]
PLAN = Plan("cpu", pairs=1, least=1)
UNEVEN = replace(SEEN, uneven=True)
"""The same with completions of 2, 3, 5 and 6 tokens."""


@pytest.fixture(scope="module")
def seen() -> Race:
    return race(SEEN, SHAPE, PLAN)


def test_both_sides_find_the_same_gradient(seen: Race) -> None:
    assert seen.equality.logps < 1e-5
    assert seen.equality.gradient < 1e-5
    assert seen.equality.cosine > 1 - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [0, 2])
def test_both_sides_agree_with_checkpointing(pictures: int) -> None:
    found = race(replace(SEEN, pictures=pictures), SHAPE, PLAN, checkpointing=True)
    assert found.equality.gradient < 1e-5


@pytest.mark.slow
def test_one_side_after_the_other_finds_what_both_find_in_turns(seen: Race) -> None:
    found = race(SEEN, SHAPE, replace(PLAN, pairs=2, in_turns=False))
    assert found.equality.gradient < 1e-5
    assert found.counts == seen.counts and found.prompt == seen.prompt
    assert len(found.pairs) == 2


@pytest.mark.slow
def test_completions_of_other_lengths_are_padded_by_trl_and_not_by_ours(seen: Race) -> None:
    assert UNEVEN.lengths == (2, 3, 5, 6)
    found = race(UNEVEN, SHAPE, PLAN)
    assert found.equality.logps < 1e-5 and found.equality.gradient < 1e-5
    tokens = "update: tokens through the language model"
    assert found.counts["theirs"][tokens] == seen.counts["theirs"][tokens]
    assert found.counts["ours"][tokens] == 2 * seen.prompt + 2 * (16 - 4)


def test_ours_computes_every_picture_and_prompt_once(seen: Race) -> None:
    prompts, completions = 2 * seen.prompt, 2 * 4 * 6
    assert seen.counts["ours"] == {
        "pictures through the image processor": 2,
        "rollout: pictures through the vision tower": 2,
        "rollout: patches through the vision tower": 2 * 48,
        # nothing follows the last token of a completion
        "rollout: tokens through the language model": prompts + completions - 8,
        "rollout: rows of logits": 2 + completions - 8,
        "update: pictures through the vision tower": 2,
        "update: patches through the vision tower": 2 * 48,
        "update: tokens through the language model": prompts + completions - 8,
        "update: rows of logits": completions,
        "backward passes": 2,
    }


def test_trl_computes_them_for_every_completion(seen: Race) -> None:
    prompts, completions = 2 * 4 * seen.prompt, 2 * 4 * 6
    assert seen.counts["theirs"] == {
        "pictures through the image processor": 2 * 2 * 4,  # before sampling, and again after it
        "rollout: pictures through the vision tower": 2 * 4,
        "rollout: patches through the vision tower": 2 * 4 * 48,
        "rollout: tokens through the language model": prompts + completions - 8,
        "rollout: rows of logits": completions,
        "update: pictures through the vision tower": 2 * 4,
        "update: patches through the vision tower": 2 * 4 * 48,
        "update: tokens through the language model": prompts + completions,
        "update: rows of logits": completions,
        "backward passes": 2,
    }


def test_every_part_of_a_step_is_seen(seen: Race) -> None:
    for step in (seen.pairs[0].theirs, seen.pairs[0].ours):
        assert all(seconds > 0 for seconds in step.parts.values())
        assert sum(step.parts.values()) <= step.whole
        assert step.calls["optimizer"] == 1 and step.calls["backward"] == 2


def test_each_rung_of_the_ladder_saves_what_its_name_says(tmp_path: Path) -> None:
    questions = Questions(replace(UNEVEN, tied=0.5), steps=1)
    model = shapes.write(SHAPE, tmp_path, "cpu")
    found = []
    convolved = []
    for _, levers in rungs():
        rung = levered(questions, model, "cpu", levers)
        with counting(rung) as counts:
            rung.step()
        patches = rung.model.model.visual.patch_embed.proj
        convolved.append(type(patches) is torch.nn.Conv3d)
        phases = ("rollout", "update")
        found.append(
            [counts[f"{phase}: pictures through the vision tower"] for phase in phases]
            + [counts[f"{phase}: tokens through the language model"] for phase in phases]
        )
    asked = questions.prompt(questions.samples("train")[0])
    (prompt,), own = rung.policy.prompt_lengths([asked]), 4 * 5
    repeated, shared, cut = 4 * prompt + own, prompt + own, prompt + 16 - 4
    assert found == [
        [8, 8, 2 * repeated, 2 * (repeated + 4)],  # plain: what nothing follows passes, too
        [8, 8, 2 * repeated, 2 * repeated],  # our own passes
        [8, 8, 2 * repeated, 2 * repeated],  # patches embedded by a matrix product
        [2, 2, 2 * repeated, 2 * repeated],  # pictures once
        [2, 2, 2 * repeated, 2 * shared],  # prompt once in the update
        [2, 2, 2 * shared, 2 * shared],  # prompt once in the rollout
        [2, 2, 2 * shared, 2 * cut],  # completions not padded
        [2, 2, 2 * shared, 2 * cut],  # no checkpointing: recomputing is not counted
        [2, 1, 2 * shared, cut],  # one of the two groups is tied
    ]
    assert convolved == [True, True, *[False] * 7]


def test_trl_and_every_rung_take_their_turns() -> None:
    found = climb(SEEN, SHAPE, "cpu", rounds=1)
    assert [rung.name for rung in found[1:]] == [title for title, _ in rungs()]
    assert all(len(rung.seconds) == 1 for rung in found)


def test_each_rung_can_have_the_machine_for_itself() -> None:
    questions, model = Questions(SEEN, steps=2), shapes.written(SHAPE, "cpu")
    makers = [partial(levered, questions, model, "cpu", levers) for _, levers in rungs()][-2:]
    times = ladder.one_by_one(questions, model, makers, 1, "cpu")
    assert [len(own) for own in times] == [2, 2, 2]


def test_nothing_is_timed_where_the_sides_differ() -> None:
    weights, logps = {"w": torch.tensor([3.0, 4.0])}, {(1,): torch.zeros(1)}
    near = {"w": torch.tensor([3.0, 4.0005])}
    found = equality.compare(weights, near, logps, logps)
    assert found.gradient == pytest.approx(0.0005 / 5, rel=1e-3)
    equality.require(found, EXACT)
    far = equality.compare(weights, {"w": torch.tensor([3.0, 4.1])}, logps, logps)
    with pytest.raises(UserError, match="nothing was timed"):
        equality.require(far, EXACT)
    with pytest.raises(UserError, match="same parameters"):
        equality.compare(weights, {}, logps, logps)


def test_the_cost_model_knows_the_published_shape() -> None:
    # FlopCounterMode on a Qwen2-VL-2B without weights: 6.16 GFLOP per image token at 400 tokens,
    # 2.6204 per token of the decoder, 0.4667 for the head, 172,032 per query and key.
    shape = SHAPES["2b"]
    assert cost.vision(shape, 400) / 400 / 1e9 == pytest.approx(6.16, abs=0.01)
    assert cost.per_token(shape) / 1e9 == pytest.approx(2.6204, abs=1e-4)
    assert cost.head(shape) / 1e9 == pytest.approx(0.4667, abs=1e-4)
    assert cost.per_pair(shape) == 172032


def test_the_cost_model_ratio_tends_to_the_group_size_with_long_prompts() -> None:
    ratios = []
    for prompt in (100, 10_000, 1_000_000):
        load = Load(prompt, 0, 0, completion=1, generations=8)
        theirs = cost.theirs(SHAPES["2b"], load, checkpointing=False)
        ours = cost.ours(SHAPES["2b"], load, checkpointing=False)
        ratios.append(theirs.policy / ours.policy)
    assert ratios == sorted(ratios) and 7.99 < ratios[-1] < 8


def test_the_time_of_light_is_that_of_operations_and_bytes() -> None:
    load = Load(10, 4, 1, completion=2, generations=2)
    work = cost.necessary(SHAPE, load).total
    # bytes alone: two decoded tokens read all weights and the keys and values before them
    pair = 2 * SHAPE.layers * SHAPE.kv_heads * SHAPE.head_size
    read = 4 * 2 * (cost.decoder_weights(SHAPE) + pair * (10 + 2 * 2 / 2))
    expected = work / 10 + (read + 28 * cost.weights(SHAPE)) / 5
    parts = limit.parts(SHAPE, load, 1, Machine(10, 5), 4)
    assert sum(parts.values()) == pytest.approx(expected)
    assert parts["backward"] == 2 * parts["forward"]
    assert parts["optimizer"] == pytest.approx(28 * cost.weights(SHAPE) / 5)


def test_questions_are_drawn_once_each_with_the_wanted_share_tied() -> None:
    questions = Questions(replace(SEEN, tied=0.5, prompts=4), steps=3)
    samples = questions.samples("train")
    assert sorted(questions.order()) == list(range(12))
    assert len({sample.question for sample in samples}) == 12
    for step in range(3):
        drawn = [samples[index] for index in questions.order()[4 * step : 4 * step + 4]]
        assert sum(sample.answer for sample in drawn) == 2


def test_a_part_within_a_part_is_given_back() -> None:
    clock = Clock()
    with clock.during("rollout"):
        with clock.during("preprocessing"):
            assert clock.part == "preprocessing"
        assert clock.part == "rollout"
    assert clock.part == ""
    step = clock.stop()
    assert step.calls["rollout"] == step.calls["preprocessing"] == 1


def step(seconds: float) -> Step:
    """A step whose update took half of its time."""
    quarters = dict.fromkeys(("rollout", "forward", "backward", "optimizer"), seconds / 4)
    return Step(seconds, {"preprocessing": 0.0} | quarters, {})


def measured() -> Measurement:
    """A race of which one pair was disturbed."""
    quiet = tuple(Machine(speed, 1e10) for speed in (1.0e9, 0.9e9, 0.95e9))
    noisy = tuple(Machine(speed, 1e10) for speed in (1.0e9, 0.5e9, 1.0e9))
    pairs = (
        Pair(step(12.0), step(2.0), quiet),
        Pair(step(16.0), step(2.0), quiet),
        Pair(step(90.0), step(1.0), noisy),
    )
    lisa = Race(
        SETTINGS["lisa"], SHAPE, "cpu", False, 632, Equality(1e-6, 1.0, 1e-7),
        {"theirs": {"rows": 16}, "ours": {"rows": 2}}, pairs,
    )  # fmt: skip
    return Measurement(
        "quick", "cpu", "", "a processor", "abc1234", {"torch": "2", "trl": "1"}, 60.0, (lisa,),
        {"theirs": Memory(100, 500), "ours": Memory(100, 200)},
        (Rung("first", (4.0, 6.0)), Rung("second", (2.0, 2.0))),
    )  # fmt: skip


def test_disturbed_pairs_do_not_count() -> None:
    (lisa,) = measured().races
    assert report.ratio(lisa, report.whole) == [6.0, 8.0]


def test_the_report_is_made_of_what_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cpu-quick.json"
    kept.write_text(json.dumps(asdict(measured())), encoding="utf-8")
    found = measurement.kept(tmp_path)
    assert found == [measured()]
    text = report.publish(found, tmp_path).read_text(encoding="utf-8")
    assert "**7.00 [6.00, 8.00]**" in text  # 12 / 2 and 16 / 2, not 90 / 1
    assert "2 of 3" in text
    assert "Ours takes 25% of TRL's." in text  # 100 of 400
    light = limit.parts(SHAPE, report.load(measured().races[0]), 4, Machine(0.925e9, 1e10), 4)
    assert f"{light['backward']:.3f} ({light['backward'] / 0.5:.0%})" in text
    assert "| second | 2.00 [2.00, 2.00] | 2.50 [2.00, 3.00] |" in text


def test_the_readme_has_the_table_of_what_is_kept(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    text = f"# Title\n\n{report.BEGIN}old\n{report.END}\nThe rest.\n"
    readme.write_text(text)
    found = measured()
    for _ in range(2):  # filling it again changes nothing
        report.fill([found, replace(found, mode="full")], readme)
        filled = readme.read_text()
        assert filled.startswith("# Title\n\n" + report.BEGIN) and filled.endswith("The rest.\n")
        assert "old" not in filled and filled.count("LISA at the published pixel cap") == 1
        assert "| 7.0x | 7.0x |" in filled and "commit abc1234" in filled


def test_the_readme_shows_what_was_measured_last() -> None:
    readme = report.HERE.parents[1] / "README.md"
    shown = readme.read_text().split(report.BEGIN)[1].split(report.END)[0]
    assert shown == report.in_short(measurement.kept()) != ""


def curve(side: str, *points: tuple[float, float]) -> Curve:
    return Curve(side, 1, tuple(Point(step, *point) for step, point in enumerate(points)))


def test_the_time_of_a_reward_lies_between_examinations() -> None:
    theirs = curve("theirs", (0, 1.0), (10, 1.4), (20, 1.2), (30, 2.0))
    assert [theirs.seconds_to(reward) for reward in (0.5, 1.2, 1.6, 2.1)] == [0, 5, 25, None]
    one = Comparison(curve("ours", (0, 1.0), (5, 1.9)), theirs)
    assert one.goal == pytest.approx(1.8)
    assert one.seconds == pytest.approx((27.5, 40 / 9))


def test_learning_is_reported_with_its_picture(tmp_path: Path) -> None:
    pair = Comparison(curve("ours", (0, 1.0), (5, 2.0)), curve("theirs", (0, 1.0), (15, 2.0)))
    never = Comparison(curve("ours", (0, 1.0), (5, 1.1)), curve("theirs", (0, 1.0), (15, 2.0)))
    found = Measurement("learning", "cpu", learning=(pair, pair, never))
    assert all(path.stat().st_size for path in report.draw(found, tmp_path))
    text = report.publish([found], tmp_path).read_text(encoding="utf-8")
    line = "| 1 | 15 | 5 | 2.000 | 2.000 | 1.000 | 1.800 | after 12 s | after 4 s | 3.0x |"
    assert line in text and "| after 12 s | never |  |" in text
    assert "TRL's time over ours: geometric mean 3.0 (95 % 3.0 to 3.0; 2 of 3 seeds)." in text


def test_ratios_are_averaged_by_their_logarithms() -> None:
    def told(*ours: float) -> str:
        theirs = curve("theirs", (0, 1.0), (10, 2.0))  # at its goal after 8 s
        pairs = [Comparison(curve("ours", (0, 1.0), (s, 2.0)), theirs) for s in ours]
        return report.mean_ratio(Measurement("learning", "cpu", learning=tuple(pairs)))

    # log 2 and log 8 have the mean log 4; twofold faster and slower cancel each other
    assert told(5.0, 1.25).startswith("geometric mean 4.0 (95 % ")
    assert told(5.0, 20.0).startswith("geometric mean 1.0 (95 % ")
    assert told(5.0) == "1 of 1 seeds reached the goal on both sides."


def test_both_sides_are_examined_before_and_after_the_same_steps() -> None:
    settings = ("train.max_steps=1", "train.per_device_train_batch_size=2", "eval.limit=4")
    curves = [side(1, settings, 1) for side in (learning.learn, learning.learn_with_trl)]
    assert [one.side for one in curves] == ["ours", "theirs"]
    for one in curves:
        assert [point.step for point in one.points] == [0, 1]
        assert 0 <= one.points[0].seconds < one.points[1].seconds
    assert curves[0].points[0].reward == curves[1].points[0].reward
