"""The settings of docs/own-data.md read rows of the public sets beside which they stand."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fakes.folders import ROOT
from PIL import Image

from vrft import config, registry
from vrft.cli import data
from vrft.config.schema import TaskConfig
from vrft.types import Completion, View

PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


def table() -> dict[str, list[str]]:
    """Return the sets of the page's table, each with its settings."""
    part = PAGE.partition("## Public sets")[2].partition("## ")[0]
    return {
        name: shlex.split(said) for name, said in re.findall(r"\| ([A-Z].*?) \| `(.*)` \|", part)
    }


def png() -> bytes:
    """Return a picture of 640 x 480."""
    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, "PNG")
    return file.getvalue()


EMBEDDED = {"bytes": png(), "path": None}
IDS = {"question_id": "34602", "image_id": "0054c91397f2fe05"}
ANSWERS = ["dakota", "dakota digital", "dakota"]
BOX = [64.0, 48.0, 320.0, 240.0]
LINKS = {"flickr_original_url": "https://farm2.staticflickr.com/4139/4_o.jpg"}
ANNOTATOR = {"answer": "net", "answer_confidence": "maybe", "answer_id": 1}

ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "ChartQA (HuggingFaceM4)": (
        {"image": EMBEDDED, "query": "How many?", "label": ["14"], "human_or_machine": 0},
        "14",
    ),
    "DocVQA (lmms-lab)": (
        {
            **{"questionId": "337", "question": "What is the date?", "question_types": ["form"]},
            **{"image": EMBEDDED, "docId": 279, "ucsf_document_id": "xnbl0037"},
            **{"ucsf_document_page_no": "1", "answers": ["1/8/93"], "data_split": "val"},
        },
        "1/8/93",
    ),
    "TextVQA (lmms-lab)": (
        {
            **{**IDS, "question": "Which brand?", "question_tokens": ["which", "brand"]},
            **{"image": EMBEDDED, "image_width": 1024, "image_height": 664, **LINKS},
            **{"answers": ANSWERS, "image_classes": ["Camera"], "set_name": "val"},
            "ocr_tokens": ["DAKOTA"],
        },
        "dakota digital",
    ),
    "OK-VQA (lmms-lab)": (
        {
            **{"question_id": "1", "image": EMBEDDED, "question": "What sport?"},
            **{"answers": ["race", "ride"], "question_type": "one", "answer_type": "other"},
        },
        "ride",
    ),
    "VQAv2 (lmms-lab)": (
        {
            **{"question_type": "what", "multiple_choice_answer": "net", "answers": [ANNOTATOR]},
            **{"image_id": 262148, "answer_type": "other", "question_id": 262148000},
            **{"question": "What is it?", "image": EMBEDDED},
        },
        "net",
    ),
    "POPE (the authors' jsonl)": (
        {"question_id": 1, "image": "a.png", "text": "Is there a snowboard?", "label": "yes"},
        "yes",
    ),
    "MathVista (AI4Math)": (
        {
            **{"pid": "2", "question": "What is the area?", "image": "images/2.jpg"},
            **{"decoded_image": EMBEDDED, "choices": ["4 cm", "5 cm", "6 cm"], "unit": None},
            **{"precision": None, "answer": "5 cm", "question_type": "multi_choice"},
            **{"answer_type": "text", "metadata": {"split": "testmini"}, "query": "Hint: ..."},
        },
        "B",
    ),
    "MMMU (MMMU)": (
        {
            **{"id": "validation_Art_1", "question": "<image 1> What is it?", "explanation": ""},
            **{"options": "['Cat', \"A dog's\", 'Cow']", "image_1": EMBEDDED, "image_2": None},
            **{"img_type": "['Paintings']", "answer": "B", "question_type": "multiple-choice"},
        },
        "B",
    ),
    "ScienceQA (derek-thomas)": (
        {
            **{"image": EMBEDDED, "question": "Which is 2?", "choices": ["1", "2", "0"]},
            **{"answer": 1, "hint": "", "task": "closed choice", "grade": "grade2"},
            **{"subject": "natural science", "lecture": "", "solution": ""},
        },
        "B",
    ),
    "A-OKVQA (HuggingFaceM4)": (
        {
            **{"image": EMBEDDED, "question_id": "22M", "question": "What is it?"},
            **{"choices": ["cat", "dog", "cow", "pig"], "correct_choice_idx": 1},
            **{"direct_answers": "['dog', 'hound']", "rationales": ["It barks."]},
        },
        "B",
    ),
    "AI2D (lmms-lab)": (
        {"question": "Which?", "options": ["a", "b", "c"], "answer": "1", "image": EMBEDDED},
        "B",
    ),
    "RefCOCO (lmms-lab)": (
        {
            **{"question_id": "469306", "image": EMBEDDED, "question": "Describe the area."},
            **{"answer": ["guy petting elephant", "man"], "segmentation": [1.0, 2.0, 3.0, 4.0]},
            **{"bbox": [64.0, 48.0, 256.0, 192.0], "iscrowd": 0, "file_name": "COCO_0.jpg"},
        },
        "(100,100),(500,500)",
    ),
    "RefCOCO (jxu124)": (
        {
            **{"sent_ids": [0], "file_name": "COCO_0.jpg", "ann_id": 1, "ref_id": 0},
            **{"image_id": 581857, "split": "train", "sentences": [{"raw": "the lady"}]},
            **{"category_id": 1, "raw_anns": "{}", "raw_image_info": "{}", "image_path": "a.png"},
            **{"bbox": BOX, "captions": ["the lady with the blue shirt", "lady"]},
            **{"global_image_id": "coco.581857", "anns_id": "refcocog.1"},
        },
        "(100,100),(500,500)",
    ),
    "RefCOCO (Shikra's jsonl)": (
        {
            **{"img_path": "a.png", "expression": "the lady", "bbox": BOX},
            **{"dataset_name": "refcocog", "height": 480, "width": 640},
        },
        "(100,100),(500,500)",
    ),
    "ScreenSpot (rootsautomation)": (
        {
            **{"image": EMBEDDED, "file_name": "a.png", "bbox": [0.1, 0.1, 0.5, 0.5]},
            **{"instruction": "close this", "data_type": "icon", "data_source": "windows"},
        },
        "(100,100),(500,500)",
    ),
}
"""Set -> a row with its columns, and the right answer, of boxes in thousandths."""


def test_each_set_of_the_page_has_a_row() -> None:
    assert table().keys() == ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_the_settings_of_a_public_set_read_its_columns(name: str, tmp_path: Path) -> None:
    row, answer = ROWS[name]
    (tmp_path / "a.png").write_bytes(png())
    file = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    fields = {**config.load(None, table()[name]).task.settings, "data_dir": str(file)}
    built = registry.build(TaskConfig(data.task_of(fields, "train"), fields))
    (sample,) = built.samples("train")
    assert len(sample.images) == 1
    view = View(1000, 1000, "thousandths")
    said = Completion(f"<think>So.</think>\n<answer>{answer}</answer>", views=(view,))
    assert built.rewards()[built.primary](sample, said) == 1.0
