"""Answers that were made elsewhere, scored with what is known of how their pictures were seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.chat_server import completion
from fakes.scripted import ANSWERS, INSTRUCTIONS, benchmark, write_reasonseg

from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.errors import UserError
from vrft.evaluation import predictions, rescoring, results, saved_answers
from vrft.evaluation.benchmark import Benchmark
from vrft.types import View

PIXELS = "<answer>(22,22),(67,67)</answer>"
"""The true box of a picture of 100 x 100 that the model saw as 112 x 112, in its pixels."""


@pytest.fixture
def four(tmp_path: Path) -> Benchmark:
    return benchmark(write_reasonseg(tmp_path / "data"))


def batch(path: Path, answer: Callable[[str], str]) -> Path:
    """Write a batch service's answers to the samples a, b and c; the request for d has failed."""
    file = path / "answers.jsonl"
    lines = [
        {"custom_id": id, "response": {"status_code": 200,
                                       "body": json.loads(completion(answer(id)).text)}}
        for id in "abc"
    ]  # fmt: skip
    lines.append({"custom_id": "d", "response": None, "error": {"message": "expired"}})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_batchs_answers_are_scored_in_the_familys_space(four: Benchmark, tmp_path: Path) -> None:
    file = batch(tmp_path, lambda id: PIXELS)
    endpoint = EndpointConfig(family="qwen2_5_vl")
    report = rescoring.score_file(file, four, out=tmp_path / "out", endpoint=endpoint)
    # Of 112 pixels 22 to 67 are 0.196 to 0.598: an IoU of about 0.98 with 0.2 to 0.6. d is wrong.
    assert report.metrics["iou"].mean == pytest.approx(0.75 * 0.975, abs=0.01)
    assert (report.n, report.unreadable, report.missing) == (4, 1, 1)
    assert report.notes == (
        "1 requests failed, whose samples count as wrong; the first is 'd': expired",
    )
    kept = predictions.read_predictions(tmp_path / "out" / "predictions.jsonl")
    assert {answer.views for answer in kept} == {(View(112, 112, "pixels"),)}
    assert results.load_evaluation(tmp_path / "out").report == report
    with pytest.raises(UserError, match=r"holds an evaluation with endpoint\.family"):
        rescoring.score_file(
            file, four, out=tmp_path / "out", endpoint=replace(endpoint, family="qwen2_vl")
        )


def test_without_a_family_nobody_knows_how_boxes_are_written(
    four: Benchmark, tmp_path: Path
) -> None:
    file = batch(tmp_path, lambda id: ANSWERS[INSTRUCTIONS[id]])
    with pytest.raises(UserError, match="does not say how its boxes are written"):
        rescoring.score_file(file, four)
    with pytest.raises(UserError, match=r"give endpoint\.family=NAME, --processor FOLDER"):
        rescoring.score_file(file, four, endpoint=EndpointConfig(resize="server"))
    report = rescoring.score_file(file, four, boxes="thousandths")
    assert report.metrics["iou"].mean == pytest.approx(0.375)


def test_answers_with_views_need_no_family(four: Benchmark, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "a", "text": "?", "views": [[112, 112, "pixels"]]}\n')
    with pytest.raises(UserError, match="the answer to 'a' has views already"):
        rescoring.score_file(file, four, endpoint=EndpointConfig(family="qwen2_vl"))


@pytest.mark.parametrize(
    ("text", "batched"),
    [
        ('\n{"custom_id": "a"}\n', True),
        ('{"id": "a", "text": "custom_id"}\n', False),
        ("[]", False),
        ("{half", False),
        ("", False),
    ],
)
def test_the_first_line_says_whose_file_it_is(text: str, batched: bool, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text)
    assert saved_answers.is_batch(file) == batched
    assert not saved_answers.is_batch(tmp_path / "none.jsonl")
