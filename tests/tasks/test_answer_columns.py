"""The column ``answer`` that every task gives reward functions, whatever its data call it."""

from __future__ import annotations

import json
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.rewards.columns import columns_of
from vrft.task import Task
from vrft_tasks.counting import Counting
from vrft_tasks.detection import Detection
from vrft_tasks.fewshot_classification import FewshotClassification
from vrft_tasks.geoqa import GeoQa
from vrft_tasks.grounding import Grounding
from vrft_tasks.lisa_grounding import LisaGrounding
from vrft_tasks.math import Math
from vrft_tasks.spatial import Spatial
from vrft_tasks.vqa import Vqa

POSITIONS = "[{'Position': [10, 20, 30, 40], 'Confidence': 1}]"


@pytest.mark.parametrize(
    ("task", "row", "answer"),
    [
        # SAT's kind of row
        (
            Spatial(""),
            {"question": "?", "answers": ["left", "right"], "correct_answer": "left"},
            "left",
        ),
        (
            Spatial(""),
            {"prompt": "?", "options": ["red", "blue"], "solution": "<answer>A</answer>"},
            "A",
        ),
        (GeoQa(""), {"question": "?", "ground_truth": "2√{3}cm"}, "2√{3}cm"),
        (GeoQa(""), {"problem": "?", "solution": "<answer> 145° </answer>"}, "145°"),
        (GeoQa(""), {"problem": "?", "ground_truth": 2.5}, 2.5),
        (Counting(""), {"question": "?", "ground_truth": 3}, 3),
        (FewshotClassification("x", dataset="own"), {"label": "barn owl"}, "barn owl"),
        (Detection(""), {"problem": "cat", "solution": f"<answer>{POSITIONS}</answer>"}, POSITIONS),
        (Vqa(""), {"prompt": "?", "solution": "<answer>14</answer>"}, "14"),
        (Grounding(""), {"prompt": "?", "solution": [1, 2, 3, 4]}, [1, 2, 3, 4]),
    ],
)
def test_a_row_without_a_column_answer_gives_its_answer_as_the_data_write_it(
    task: Any, row: dict[str, Any], answer: Any, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "image": "a.png"}))
    (sample,) = replace(task, data_dir=str(tmp_path / "rows.jsonl")).samples("train")
    columns = columns_of(sample)
    assert columns["answer"] == answer
    assert columns["solution"] == row.get("solution", answer)


def test_a_row_of_mathematics_gives_its_result(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"problem": "?", "solution": "So it is $\\boxed{7}$."})
    )
    (sample,) = Math(str(tmp_path / "rows.jsonl")).samples("train")
    assert columns_of(sample)["answer"] == "7"


@pytest.mark.parametrize(
    ("task", "split"),
    [
        (Detection(str(RECORDS / "detection/coco")), "val2017"),
        (LisaGrounding(RECORDS / "reasonseg"), "train"),
    ],
)
def test_annotations_give_their_boxes_in_fractions(task: Task[Any], split: str) -> None:
    for sample in task.samples(split):
        answer = columns_of(sample)["answer"]
        boxes = answer if isinstance(task, Detection) else [answer]
        assert all(len(box) == 4 and all(0 <= number <= 1 for number in box) for box in boxes)
        assert not is_dataclass(answer)
