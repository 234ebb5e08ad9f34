"""Rollouts at trackers: what they are given, and what the real ones have kept, offline."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from fakes import tracked_run
from fakes.folders import ROOT
from PIL import Image, ImageColor

from vrft.boxes import Box
from vrft.runs import tracked_rollouts
from vrft.runs.run_log import RunLog
from vrft.types import Prompt, Sample
from vrft.viz.palette import LOWERED, RAISED, TRUTH, advantage_colour

GREY = Image.new("RGB", (200, 100), "grey")


@dataclass(frozen=True)
class Pointing:
    """As much of a task as is asked for."""

    def prompt(self, sample: Sample[Box]) -> Prompt:
        return Prompt(f"Point at {sample.question}.", sample.images)

    def boxes(self, sample: Sample[Box]) -> tuple[Box, ...]:
        return (sample.answer,)

    def boxed_picture(self, sample: Sample[Box]) -> int:
        return len(sample.images) - 1


# --- what is chosen and how it is written


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (1, ["b"]),  # a group is never cut
        (2, ["b"]),
        (3, ["b", "a"]),
        (8, ["b", "a"]),
        (None, ["b", "a"]),
    ],
)
def test_the_first_groups_are_shown_whole(count: int | None, shown: list[str]) -> None:
    samples = [Sample(key, f"cup {key}", tracked_run.TRUE, (GREY,)) for key in "abc"]
    rows = [{**row, "sample_id": key} for key in "ba" for row in tracked_run.rows()[:2]]
    made = tracked_rollouts.groups(Pointing(), samples, rows, 2, count)  # type: ignore[arg-type]
    assert [part.sample_id for part in made] == shown
    assert made[0].question == "Point at cup b." and made[0].picture is GREY
    assert made[0].truth == (tracked_run.TRUE,) and len(made[0].rows) == 2


def test_the_picture_with_the_boxes_is_shown() -> None:
    images = (Image.new("RGB", (50, 50)), GREY)
    rows = [{**row, "sample_id": "a"} for row in tracked_run.rows()]
    (made,) = tracked_rollouts.groups(
        Pointing(),  # type: ignore[arg-type]
        [Sample("a", "cup", tracked_run.TRUE, images)], rows, 3, None,
    )  # fmt: skip
    assert made.picture is GREY


@dataclass(frozen=True)
class Finding(Pointing):
    """Objects of which some pictures have none."""

    def boxes(self, sample: Sample[Box]) -> tuple[Box, ...]:
        return (sample.answer,) if sample.id == "a" else ()


def test_boxes_of_answers_are_drawn_where_there_is_no_object() -> None:
    samples = [Sample(key, f"cup {key}", tracked_run.TRUE, (GREY,)) for key in "ab"]
    rows = [{**row, "sample_id": "b"} for row in tracked_run.rows()]
    (made,) = tracked_rollouts.groups(Finding(), samples, rows, 3, None)  # type: ignore[arg-type]
    assert made.truth == () and [len(boxes) for _, boxes in made.boxes] == [1, 0, 1]
    given = tracked_rollouts.wandb_boxes(made)
    assert given["true"]["box_data"] == [] and len(given["answers"]["box_data"]) == 2


def test_histograms_have_the_values_of_all_completions_that_have_one() -> None:
    assert tracked_rollouts.histograms(tracked_run.rows()) == {
        "histograms/reward": [1.0, 0.25, 0.25],
        "histograms/advantage": [0.5, -0.25, -0.25],
        "histograms/completion_length": [4.0, 5.0, 6.0],
        "histograms/rewards/iou": [1.0, 0.25, 0.25],
        "histograms/rewards/brief": [1.0],  # it applies to one of three
    }


def test_boxes_have_the_colours_of_their_advantages_and_the_best_lies_on_top() -> None:
    part = tracked_run.group(GREY)
    image = part.drawn()
    assert image is not None and image.size == (336, 168)
    known = {colour for _, colour in image.getcolors(1 << 16) or []}
    lowered = advantage_colour(-0.25, 0.5)
    assert {ImageColor.getrgb(colour) for colour in (TRUTH, RAISED, lowered)} <= known
    assert ImageColor.getrgb(LOWERED) not in known  # half as far down as the best is up
    assert [row["advantage"] for row, _ in part.boxes] == [-0.25, -0.25, 0.5]


def test_a_picture_that_has_gone_is_a_sheet_and_none_is_none(tmp_path: Path) -> None:
    assert tracked_run.group(tmp_path / "gone.png").drawn() is not None
    assert tracked_run.group(None).drawn() is None


def test_a_large_picture_is_made_smaller() -> None:
    image = tracked_run.group(Image.new("RGB", (3000, 1000))).image
    assert image is not None and image.size == (672, 224)


def test_weights_and_biases_gets_boxes_in_fractions_with_their_classes() -> None:
    made = tracked_rollouts.wandb_boxes(tracked_run.group(GREY))
    assert made["true"]["box_data"] == [
        {
            "position": {"minX": 0.25, "maxX": 0.75, "minY": 0.5, "maxY": 1.0},
            "class_id": 0,
            "box_caption": "true",
        }
    ]
    labels = made["answers"]["class_labels"]
    assert [
        (labels[box["class_id"]], box["box_caption"], box["scores"])
        for box in made["answers"]["box_data"]
    ] == [
        ("pushed down", "-0.25", {"advantage": -0.25, "reward": 0.25}),
        ("pushed up", "+0.50", {"advantage": 0.5, "reward": 1.0}),
    ]


def test_a_listing_goes_from_the_best_to_the_worst_and_can_be_stored() -> None:
    lines = tracked_rollouts.listing(tracked_run.group(None)).split("\n")
    assert lines[0] == "a1: the <b>cup</b>"
    assert lines[1] == "+0.50  reward 1  (250,500),(750,1000)"
    assert lines[3] == "-0.25  reward 0.25  <script>alert(1)</script> \\ud83d"


def test_another_tracker_gets_nothing() -> None:
    tracker = MagicMock()
    tracker.name = "mlflow"
    tracked_rollouts.log(tracker, 1, tracked_run.rows(), [tracked_run.group(GREY)])
    assert tracker.mock_calls == []


# --- what the real trackers have kept


def test_tensorboard_keeps_histograms_pictures_and_texts(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracked_run.follow("tensorboard", tmp_path)
    every = {name: 0 for name in ("images", "histograms", "tensors", "scalars")}
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"), every).Reload()
    assert [event.step for event in events.Histograms("histograms/advantage")] == [1, 2]
    spread = events.Histograms("histograms/reward")[0].histogram_value
    assert (spread.min, spread.max, spread.num, spread.sum) == (0.25, 1.0, 3, 1.5)
    (image,) = events.Images("rollouts/0")
    assert (image.step, image.width, image.height) == (1, 336, 168)
    assert image.encoded_image_string.startswith(b"\x89PNG")
    (text,) = events.Tensors("rollouts/0/text_summary")
    (kept,) = text.tensor_proto.string_val
    # A block of code of Markdown: no tag and no emphasis is read as one.
    assert all(line.startswith(b"    ") for line in kept.splitlines())
    assert b"    -0.25  reward 0.25  <script>alert(1)</script> \\ud83d\n" in kept


def test_pictures_can_be_left_out(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(tmp_path, ["tensorboard"])
    log.rollouts(1, tracked_run.rows(), [tracked_run.group(GREY)], pictures=False)
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["images"] == []
    assert events.Tags()["tensors"] == ["rollouts/0/text_summary"]


def follow_offline(tracker: str, folder: Path, **variables: str) -> None:
    """Let a process of its own, whose network is closed, tell a tracker of a run."""
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "fakes.tracked_run", tracker, str(folder)]
    done = subprocess.run(
        command, env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of a run's .wandb file, a log as LevelDB writes it.

    Behind 7 bytes of its own it has blocks of 32 KiB; a part of a record is 4 bytes of a checksum,
    2 of a length, and one that tells a complete record (1) or its last part (4) from others.
    """
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, place, content = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        content += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = messages.Record()
            record.ParseFromString(content)
            content = b""
            yield record


@pytest.mark.slow
def test_weights_and_biases_keeps_settings_histograms_and_pictures_with_boxes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("wandb")
    follow_offline("wandb", tmp_path / "run", WANDB_MODE="offline", WANDB_SILENT="true")
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    records = list(wandb_records(file))
    settings = {item.key: item.value_json for r in records for item in r.config.update}
    assert settings["train.seed"] == "7"
    first, second = (
        {"/".join(item.nested_key) or item.key: item.value_json for item in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    )
    assert (first["loss"], second["loss"]) == ("0.5", "1")
    assert sum(json.loads(first["histograms/advantage/values"])) == 3
    assert first["rollouts/count"] == "1" and "rollouts/count" not in second
    files = file.parent / "files" / "media"
    (picture,) = json.loads(first["rollouts/filenames"])
    with Image.open(file.parent / "files" / picture) as image:
        assert image.size == (200, 100)
    boxes = [json.loads(path.read_text()) for path in (files / "metadata").rglob("*.json")]
    captions = sorted(box["box_caption"] for kind in boxes for box in kind["box_data"])
    assert captions == ["+0.50", "-0.25", "true"]
    (table,) = (json.loads(path.read_text()) for path in (files / "table").glob("*.json"))
    assert [row[2] for row in table["data"]][1] == "<script>alert(1)</script> \\ud83d"


@pytest.mark.slow
def test_trackio_keeps_settings_histograms_pictures_and_traces(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    home = tmp_path / "trackio"
    follow_offline("trackio", tmp_path / "run", TRACKIO_DIR=str(home))
    with sqlite3.connect(home / "vrft.db") as base:
        (settings,) = base.execute("select config from configs").fetchall()
        rows = base.execute("select step, metrics from metrics").fetchall()
        traces = base.execute("select messages, metadata from traces order by trace_index")
        messages, facts = zip(*((json.loads(m), json.loads(f)) for m, f in traces), strict=True)
    base.close()
    given = {name: v for name, v in json.loads(settings[0]).items() if not name.startswith("_")}
    assert given == {"train.seed": 7, "train.output_dir": "runs/x"}
    kept: dict[str, Any] = {}
    for step, metrics in rows:
        kept |= {(step, name): value for name, value in json.loads(metrics).items()}
    assert (kept[1, "loss"], kept[2, "loss"]) == (0.5, 1.0)
    assert sum(kept[2, "histograms/advantage"]["values"]) == 3
    picture = kept[1, "rollouts/0"]
    with Image.open(home / "media" / picture["file_path"]) as image:
        assert image.size == (336, 168)
    assert [fact["advantage"] for fact in facts] == [0.5, -0.25, -0.25]
    assert [message["role"] for message in messages[0]] == ["user", "assistant"]
    assert messages[1][1]["content"] == "<script>alert(1)</script> \\ud83d"


def test_the_closed_network_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SimpleNamespace(family=0)
    monkeypatch.setattr(tracked_run.socket.socket, "connect", None)
    monkeypatch.setattr(tracked_run.socket, "gethostbyname", None)
    tracked_run.close_network()
    with pytest.raises(OSError, match="the network is closed"):
        tracked_run.socket.socket.connect(asked, ("192.0.2.1", 443))  # type: ignore[arg-type]
