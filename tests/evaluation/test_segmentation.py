"""Masks of boxes: the metrics by hand, their file on disk, and a tiny SAM with random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes.folders import RECORDS
from fakes.scripted import ANSWERS, Scripted, benchmark, write_reasonseg
from PIL import Image

from vrft import cli, masks
from vrft.boxes import Box
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import evaluate, rescoring, results, segmentation
from vrft.masks import Mask, Region
from vrft.types import Report, Score

MODEL = ModelConfig(name="scripted")


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def pixels(x: int, y: int, width: int, height: int) -> Mask:
    """Return a mask of 10 x 10 pixels that is True in a rectangle."""
    mask = np.zeros((10, 10), dtype=np.bool_)
    mask[y : y + height, x : x + width] = True
    return mask


# two targets of 16 and 4 pixels, the second the first shape, and 8 ignored pixels
REGION = Region(
    (square(0, 0, 4), square(8, 8, 2)),
    ([(4, 0), (6, 0), (6, 4), (4, 4)],),
    square(8, 8, 2),
)

MEASURED = [
    # the large target exactly: 16 of 20, and nothing of the first shape, 0 of 16 + 4
    (pixels(0, 0, 4, 4), (16, 20), (0, 20)),
    # the ignored columns beside it count in the legacy measure alone
    (pixels(0, 0, 6, 4), (16, 20), (0, 28)),
    # two columns more, 8 pixels, are wrong
    (pixels(0, 0, 8, 4), (16, 28), (0, 36)),
    # the first shape exactly
    (pixels(8, 8, 2, 2), (4, 20), (4, 4)),
    # no answer, and an empty mask
    (None, (0, 20), (0, 4)),
    (pixels(0, 0, 0, 0), (0, 20), (0, 4)),
]


@pytest.mark.parametrize(("mask", "strict", "legacy"), MEASURED, ids=range(len(MEASURED)))
def test_masks_are_measured_against_all_targets_and_the_first_shape(
    mask: Mask | None, strict: tuple[float, float], legacy: tuple[float, float]
) -> None:
    score = segmentation.with_mask_metrics(Score({"iou": 0.5}, None), REGION, mask, (10, 10))
    assert score.ratios == {"mask_ciou": strict, "legacy_mask_ciou": legacy}
    assert score.metrics == {
        "iou": 0.5,
        "mask_giou": strict[0] / strict[1],
        "legacy_mask_giou": legacy[0] / legacy[1],
    }


def test_nothing_is_never_right() -> None:
    point = Region(([(1.0, 1.0)],), (), [(1.0, 1.0)])
    score = segmentation.with_mask_metrics(Score({}, None), point, None, (10, 10))
    assert score.metrics == {"mask_giou": 0.0, "legacy_mask_giou": 0.0}
    assert score.ratios["mask_ciou"] == (0.0, 0.0)


# --- in an evaluation


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write four pictures of 100 x 100; the truth of each is x and y 20 to 60, 1600 pixels."""
    return write_reasonseg(tmp_path / "data")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Box]]:
    """Replace SAM by a segmenter that fills the box; return (name, box) of what it is asked."""
    boxes: list[tuple[str, Box]] = []

    def load(name: str) -> segmentation.Segmenter:
        def fill(image: Image.Image, box: Box) -> Mask:
            boxes.append((name, box))
            x1, y1, x2, y2 = (round(side) for side in box.pixels(*image.size))
            mask = np.zeros((image.height, image.width), dtype=np.bool_)
            mask[y1:y2, x1:x2] = True
            return mask

        return fill

    monkeypatch.setattr(segmentation, "load_segmenter", load)
    return boxes


def run(data: Path, out: Path, segmenter: str = "sam") -> Report:
    four = benchmark(data, segmenter=segmenter)
    return evaluate.run(four, MODEL, out, policy=Scripted())


def test_an_evaluation_reports_giou_and_ciou_of_masks(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    report = run(data, tmp_path / "out")
    # masks of 1600, 800 and 400 pixels and none; IoU 1, 1/2, 0, 0
    assert report.metrics["mask_giou"].mean == pytest.approx(0.375)
    # intersections 1600 + 800, unions 1600 + 1600 + (1600 + 400) + 1600
    assert report.metrics["mask_ciou"].mean == pytest.approx(2400 / 6800)
    assert report.metrics["mask_ciou"].low < 2400 / 6800 < report.metrics["mask_ciou"].high
    assert report.subsets["class"]["mask_ciou"].mean == pytest.approx(2400 / 3200)
    assert (report.n, report.unreadable) == (4, 1)
    assert [box for _, box in asked] == [
        Box(0.2, 0.2, 0.6, 0.6),
        Box(0.2, 0.2, 0.6, 0.4),
        Box(0.7, 0.7, 0.9, 0.9),
    ]


def test_without_a_segmenter_there_are_no_masks(data: Path, tmp_path: Path) -> None:
    report = run(data, tmp_path / "out", segmenter="")
    assert not [name for name in report.metrics if "mask" in name]
    assert not (tmp_path / "out" / "masks.jsonl").exists()


def test_masks_are_made_once_and_found_again(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    out = tmp_path / "out"
    report = run(data, out)
    assert len(asked) == 3
    assert run(data, out) == report
    assert results.load_evaluation(out).report == report
    assert len(asked) == 3


def test_a_kill_while_masks_are_made_costs_only_the_last_one(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    out = tmp_path / "out"
    report = run(data, out)
    path = out / "masks.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:30])
    assert run(data, out) == report
    assert len(asked) == 4
    assert path.read_bytes() == whole


def test_another_segmenter_makes_its_own_masks(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    out = tmp_path / "out"
    run(data, out)
    with pytest.raises(UserError, match=r"benchmark\.segmenter: sam, not huge"):
        run(data, out, segmenter="huge")
    evaluation = results.load_evaluation(out)
    segmentation.score_masks(evaluation.task, evaluation.scored, "huge", out)
    assert [name for name, _ in asked] == ["sam"] * 3 + ["huge"] * 3


def test_saved_answers_are_scored_with_masks_and_compared(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    report = run(data, out)
    again = benchmark(data, segmenter="sam")
    assert rescoring.score_file(out / "predictions.jsonl", again) == report
    assert cli.main(["compare", str(out), str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["metrics"]
    differences = {row["metric"]: row["difference"]["mean"] for row in rows}
    assert differences["mask_giou"] == differences["mask_ciou"] == 0.0


def test_masks_of_saved_answers_are_made_only_where_the_folder_takes_them(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    out, path = tmp_path / "out", tmp_path / "other.jsonl"
    run(data, out)
    path.write_text('{"id": "a", "text": "<answer>(0,0),(500,500)</answer>"}\n')
    before, made = (out / "masks.jsonl").read_bytes(), len(asked)
    score = partial(rescoring.score_file, path, benchmark(data, segmenter="sam"), out=out)
    with pytest.raises(UserError, match="begin anew with --fresh"):
        score(boxes="thousandths")
    assert ((out / "masks.jsonl").read_bytes(), len(asked)) == (before, made)
    score(boxes="thousandths", fresh=True)
    (row,) = map(json.loads, (out / "masks.jsonl").read_text().splitlines())  # the others are gone
    assert row["box"] == [0.0, 0.0, 0.5, 0.5]


def test_a_file_that_holds_no_masks_is_named(
    data: Path, tmp_path: Path, asked: list[tuple[str, Box]]
) -> None:
    out = tmp_path / "out"
    run(data, out)
    for bad in (b"[]", b"{", b'{"segmenter": "sam", "id": "a", "box": "x", "mask": {}}'):
        (out / "masks.jsonl").write_bytes(bad + b"\n")
        with pytest.raises(UserError, match=r"masks\.jsonl line 1: no mask; delete the file"):
            results.load_evaluation(out)


def test_data_without_shapes_is_refused(tmp_path: Path, asked: list[tuple[str, Box]]) -> None:
    records = RECORDS / "visual_rft.json"
    shapeless = replace(benchmark(records, segmenter="sam"), split="train")
    with pytest.raises(UserError, match="segmenter: sample 'lisa_0' has no shapes"):
        evaluate.run(shapeless, MODEL, tmp_path / "out", policy=Scripted(KETTLE_AND_LAMP))


KETTLE_AND_LAMP = {"the thing that makes": "?", "what lights": ANSWERS["the owl"]}


# --- the real thing, small


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a SAM of 24,000 random weights that sees pictures at 64 pixels; return its folder."""
    import torch
    from transformers import SamConfig, SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    sizes = {"hidden_size": 16, "image_size": 64, "patch_size": 16}
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16}
    vision = {"output_channels": 16, "num_pos_feats": 8, "window_size": 2}
    torch.manual_seed(0)
    model = SamModel(
        SamConfig(
            vision_config={**sizes, **small, **vision, "global_attn_indexes": [0]},
            prompt_encoder_config={**sizes, "mask_input_channels": 4},
            mask_decoder_config={"hidden_size": 16, **small, "iou_head_hidden_dim": 16},
        )
    )
    processor = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    folder = tmp_path_factory.mktemp("sam")
    model.save_pretrained(folder)
    SamProcessor(processor).save_pretrained(folder)
    return folder


def test_sam_makes_a_mask_of_the_pictures_own_size_that_depends_on_the_box(sam: Path) -> None:
    segmenter = segmentation.load_segmenter(str(sam))
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    drawn = [segmenter(picture, box) for box in (Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1))]
    for mask in drawn:
        assert (mask.shape, mask.dtype) == ((60, 80), np.bool_)
    assert not np.array_equal(*drawn)
    assert np.array_equal(drawn[0], segmenter(picture, Box(0, 0, 0.5, 0.5)))


def test_masks_of_sam_are_scored_from_the_command_line(
    sam: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    predictions = out / "predictions.jsonl"
    run(data, out, segmenter="")
    (tmp_path / "four.yaml").write_text("task: lisa_grounding\nsplit: test\n")
    status = cli.main(
        [
            *("eval", "--benchmark", str(tmp_path / "four.yaml"), "--data", str(data)),
            *("--predictions", str(predictions), "--out", str(tmp_path / "scored")),
            f"segmenter={sam}",
        ]
    )
    assert status == 0
    assert "mask_giou" in capsys.readouterr().out
    lines = (tmp_path / "scored" / "masks.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    truth = masks.draw([square(20, 20, 40)], 100, 100)
    expected = [iou(truth, masks.decode(row["mask"])) for row in rows]
    scores = json.loads((tmp_path / "scored" / "scores.json").read_text())
    assert scores["metrics"]["mask_giou"]["mean"] == pytest.approx(sum(expected) / 4)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_what_is_no_sam_model_is_named_in_one_line(sam: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(sam, broken)
    (broken / "model.safetensors").unlink()
    for folder in (empty, broken):
        with pytest.raises(UserError, match=r"no SAM model .* give a hub id such as") as raised:
            segmentation.load_segmenter(str(folder))
        assert "\n" not in str(raised.value)
