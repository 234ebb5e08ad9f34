"""``vrft check``: a sound task passes, and every kind of fault is found and named."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes.folders import RECORDS, ROOT
from fakes.naming import Naming

from vrft import registry
from vrft.checks.check import check
from vrft.checks.findings import Spread
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.task import Task
from vrft.types import Prompt, Sample
from vrft_tasks.lisa_grounding import LisaGrounding

GROUNDING = LisaGrounding(RECORDS / "reasonseg")


def all_problems(task: Task[str], *splits: str) -> str:
    result = check(task, splits or ("train",))
    assert result.ok is not any("problem" in line for line in result.lines())
    return "\n".join(line for line in result.lines() if "problem:" in line)


def test_sound_data_is_ready_to_train() -> None:
    result = check(GROUNDING, ("train", "val"))
    assert result.ok
    assert result.lines()[-1] == "ready to train"
    train, val = result.splits
    assert (train.samples, train.pictures, val.samples) == (3, 2, 1)
    # 80 x 60 pixels become 84 x 56: 3 x 2 tokens
    assert train.spreads["image tokens"] == Spread(6, 6, 6, 6)
    assert train.spreads["picture width"] == Spread(80, 80, 80, 80)
    assert train.gold["reward format"] == 1.0
    assert 0.97 < train.gold["iou"] < 1  # rounded to whole pixels, exact in thousandths


def test_the_result_is_json() -> None:
    result = check(GROUNDING, ("train", "val"))
    tree = json.loads(json.dumps(result.to_json()))
    assert tree["ok"] is True
    assert [split["pictures"] for split in tree["splits"]] == [2, 1]
    assert tree["splits"][0]["spreads"]["image tokens"]["largest"] == 6


def test_the_json_names_every_offender() -> None:
    result = check(Naming(colour="blue", ids=tuple("abcdd")), ("train", "val"))
    tree = json.loads(json.dumps(result.to_json()))
    assert tree["ok"] is False
    (twice,) = tree["splits"][0]["problems"]
    assert twice == {"text": "1 share their id with another: d", "ids": ["d"]}
    _, note = tree["splits"][1]["notes"]  # a single colour; the same question of the same picture
    assert note["ids"] == ["b", "c", "d"]
    (leak,) = tree["problems"]
    assert leak["text"] == "4 of val show pictures of train: a, b, c, ..."
    assert leak["ids"] == ["a", "b", "c", "d"]
    assert "findings" not in tree


def test_pixel_limits_count_as_the_processor_does() -> None:
    # at most 28 x 56 pixels: two tokens of the six remain at most
    result = check(GROUNDING, ("val",), seen=(784, 2 * 784, 28))
    assert result.splits[0].spreads["image tokens"].largest <= 2


@dataclass(frozen=True)
class Letters:
    """Reads a prompt letter by letter, and one place for a picture whatever there is."""

    pixels: tuple[int, int] | None = None
    factor: int = 28

    def read(self, prompt: Prompt, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return len(prompt.text), 1


def test_prompts_are_counted_by_the_given_reader_and_samples_limited() -> None:
    result = check(GROUNDING, ("train",), Letters(), limit=2)
    lengths = [len(GROUNDING.prompt(sample).text) for sample in GROUNDING.samples("train")[:2]]
    assert result.ok
    assert result.splits[0].samples == 2
    assert result.splits[0].spreads["prompt tokens"].largest == max(lengths)


def test_the_readers_limits_come_before_the_given_ones() -> None:
    result = check(GROUNDING, ("val",), Letters((784, 2 * 784)), seen=(784, 100 * 784, 28))
    assert result.splits[0].spreads["image tokens"].largest <= 2


def test_image_tokens_are_counted_in_squares_of_the_readers_side() -> None:
    # a picture of 84 x 56 pixels: 3 x 2 tokens of 28 pixels; 5.25 x 3.5, rounded, of 16
    for side, tokens in ((28, 3 * 2), (16, 5 * 4)):
        result = check(GROUNDING, ("val",), Letters((784, 100 * 784), side))
        assert result.splits[0].spreads["image tokens"].largest == tokens


def test_prompts_over_the_limit_are_named() -> None:
    # "Which colour?" has 13 letters
    assert check(Naming(), ("train",), Letters(), longest=13).ok
    (problem,) = check(Naming(), ("train",), Letters(), longest=12).splits[0].findings.problems
    assert str(problem) == "2 have a prompt over sampling.max_prompt_length=12: a, b"
    assert problem.ids == ("a", "b")


def test_pictures_without_a_place_in_the_prompt_are_named() -> None:
    @dataclass(frozen=True)
    class Two(Naming):
        def samples(self, split: str) -> Sequence[Sample[str]]:
            first, second = super().samples(split)
            return [first, replace(second, images=second.images * 2)]

    result = check(Two(), ("train",), Letters())
    text = "1 have a prompt with more or fewer places for pictures than pictures: b"
    assert f"  problem: {text}" in result.lines()


def test_a_sound_task_without_files_passes() -> None:
    assert all_problems(Naming(), "train", "val") == ""


def test_duplicate_ids_are_found() -> None:
    problems = all_problems(Naming(ids=("a", "b", "a", "c", "c")))
    assert "2 share their id with another: a, c" in problems


def test_a_picture_in_both_splits_is_found_by_what_it_shows() -> None:
    problems = all_problems(Naming(colour="blue", ids=("a",)), "train", "val")
    assert "1 of val show pictures of train: a" in problems


@dataclass(frozen=True)
class Asking(Naming):
    """The same without pictures."""

    def samples(self, split: str) -> Sequence[Sample[str]]:
        questions = [f"Which colour has the {split} {key}?" for key in self.ids]
        asked = [*questions, "Which colour has the sky?", self.question]
        return [Sample(str(n), text, self.answer) for n, text in enumerate(asked)]


def test_a_question_in_both_splits_is_found_where_there_are_no_pictures() -> None:
    problems = all_problems(Asking(), "train", "val")
    assert problems == "problem: 2 of val ask what train asks: 2, 3"


def test_a_task_without_pictures_is_read_once_and_passes() -> None:
    (split,) = check(Asking(), ("train",)).splits
    assert split.gold == {"reward right": 1.0, "reward format": 1.0, "right": 1.0}
    assert (split.samples, split.pictures, dict(split.spreads)) == (4, 0, {})


def test_special_tokens_in_a_question_are_found() -> None:
    problems = all_problems(Naming(question="Which colour is <|image_pad|>?"))
    assert problems.startswith(
        "  problem: 2 have a prompt or answer that training refuses (the prompt"
    )
    assert "has the special token <|image_pad|> in its question; remove it" in problems
    assert problems.endswith("): a, b")


def test_a_split_without_samples_is_found() -> None:
    assert "no samples" in all_problems(Naming(ids=()))


def test_data_that_cannot_be_read_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="no split 'dev'"):
        check(GROUNDING, ("train", "dev"))


def test_the_verdict_counts_the_problems() -> None:
    result = check(Naming(ids=("a", "a")), ("train",))
    assert result.lines()[-1] == "not ready: 1 problem(s), see above"


def test_the_published_reward_passes_too() -> None:
    assert check(replace(GROUNDING, reward="legacy"), ("val",)).ok


def test_a_damaged_picture_is_found_though_its_header_is_sound(tmp_path: Path) -> None:
    whole = (RECORDS / "reasonseg/val/lamp.jpg").read_bytes()
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "lamp.jpg").write_bytes(whole[: len(whole) - 150])
    (folder / "lamp.json").write_bytes((RECORDS / "reasonseg/val/lamp.json").read_bytes())
    result = check(LisaGrounding(tmp_path), ("train",))
    assert "lamp.jpg: damaged picture" in "\n".join(result.lines())
    assert not result.ok


def test_the_task_in_the_guide_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "tasks" / "README.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0]
    path = tmp_path / "brighter_side.py"
    path.write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    task = registry.build(TaskConfig(str(path), {"count": 16}))
    assert all_problems(task, "train", "val") == ""
