"""Boxes as arrays, and as objects of supervision and FiftyOne where these are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vrft import viz
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.viz import Answer, Exhibit, Mark, conversion

BOX, OTHER = Box(0.25, 0.5, 0.75, 1.0), Box(0.0, 0.0, 0.5, 0.25)


def exhibit(image: Path | Image.Image | None) -> Exhibit:
    right = Answer("answer", "(250,500),(750,1000)", {"iou": 1.0}, True, boxes=(BOX, OTHER))
    return Exhibit(
        "a1", "the cup", (right, Answer("after", "?", {"iou": 0.0}, False)), image, (BOX,)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_boxes_become_pixels_and_labels_become_classes() -> None:
    marks = [Mark(BOX, "true", ""), Mark(OTHER, "answer", ""), Mark(OTHER, "true", "")]
    made = conversion.arrays(marks, (200, 100))
    # 0.25 * 200 = 50, 0.5 * 100 = 50, 0.75 * 200 = 150; and 0.5 * 200 = 100, 0.25 * 100 = 25.
    assert made.xyxy.tolist() == [[50, 50, 150, 100], [0, 0, 100, 25], [0, 0, 100, 25]]
    assert made.class_id.tolist() == [0, 1, 0]
    assert made.class_name.tolist() == ["true", "answer", "true"]
    assert (made.xyxy.dtype, made.class_id.dtype) == (np.float32, np.int64)


def test_no_boxes_are_arrays_of_none() -> None:
    made = conversion.arrays([], (200, 100))
    assert made.xyxy.shape == (0, 4) and made.class_id.shape == made.class_name.shape == (0,)


def test_fiftyones_box_is_a_corner_and_a_size() -> None:
    assert conversion.corner_and_size(BOX) == [0.25, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("package", ["supervision", "fiftyone"])
def test_a_missing_package_is_one_line(
    package: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "meta_path", [NotThere(package), *sys.meta_path])
    monkeypatch.delitem(sys.modules, package)
    with pytest.raises(UserError, match=rf"to_{package} needs the package {package}.*pip install"):
        getattr(viz.panel(exhibit(file)), f"to_{package}")()


class NotThere:
    """A finder for which one package is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("image", [None, Image.new("RGB", (8, 8))])
def test_fiftyone_is_given_files_only(image: Image.Image | None) -> None:
    with pytest.raises(UserError, match="sample a1: FiftyOne shows files"):
        viz.panel(exhibit(image)).to_fiftyone()


def test_a_sample_without_a_picture_has_no_boxes_to_give() -> None:
    with pytest.raises(UserError, match="sample a1: no picture"):
        viz.panel(exhibit(None)).to_supervision()


def test_supervision_takes_the_boxes(file: Path) -> None:
    sv = pytest.importorskip("supervision")
    made = viz.panel(exhibit(file)).to_supervision()
    assert list(made) == ["true", "answer", "after"]
    assert all(isinstance(boxes, sv.Detections) for boxes in made.values())
    assert made["true"].xyxy.tolist() == [[50, 50, 150, 100]] and len(made["after"]) == 0
    assert made["answer"]["class_name"].tolist() == ["answer", "answer"]
    drawn = viz.draw(file, {"true": [BOX], "answer": [OTHER]}).to_supervision()
    assert drawn.class_id.tolist() == [0, 1] and drawn.area.tolist() == [5000.0, 2500.0]
    # Its own drawing and its own overlap of boxes take them.
    scene = sv.BoxAnnotator().annotate(np.zeros((100, 200, 3), np.uint8), drawn)
    assert scene.any()
    overlap = sv.box_iou_batch(made["true"].xyxy, made["answer"].xyxy)
    assert overlap.tolist() == [[1.0, 0.0]]


def test_fiftyone_takes_the_samples(file: Path) -> None:
    fo = pytest.importorskip("fiftyone")
    (sample,) = viz.gallery([exhibit(file)]).to_fiftyone()
    assert isinstance(sample, fo.Sample) and sample.filepath == str(file)
    assert [box.bounding_box for box in sample["true"].detections] == [[0.25, 0.5, 0.5, 0.5]]
    assert [box.label for box in sample["answer"].detections] == ["answer", "answer"]
    assert sample["answer_metrics"] == {"iou": 1.0} and sample["after_readable"] is False
    assert sample["after"].detections == [] and sample["question"] == "the cup"
