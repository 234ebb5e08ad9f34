"""The fingerprint: the same in every process, and another for every change that matters."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.evaluation import fingerprint
from vrft.types import Prompt, Sample


class Kind(Enum):
    """An answer among a few."""

    LEFT = 1
    RIGHT = 2


@dataclass(frozen=True)
class Gold:
    """An answer made of others."""

    boxes: tuple[Box, ...] = ()
    names: frozenset[str] = frozenset()
    mask: Any = None


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("B", "C"),
        (3, 4),
        (Box(0, 0, 0.5, 0.5), Box(0, 0, 0.5, 0.6)),
        (Gold((Box(0, 0, 1, 1),)), Gold()),
        (Gold(names=frozenset("ab")), Gold(names=frozenset("ac"))),
        (Gold(mask=np.eye(2)), Gold(mask=np.zeros((2, 2)))),
        (np.int64(3), np.int64(4)),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        (Kind.LEFT, Kind.RIGHT),
        (Path("a"), Path("b")),
        (SimpleNamespace(x=1), SimpleNamespace(x=2)),
        (None, ""),
    ],
)
def test_another_gold_answer_is_another_fingerprint(answer: Any, other: Any) -> None:
    first, second = (fingerprint.of_samples([Sample("a", "?", gold)]) for gold in (answer, other))
    assert first["answers"] != second["answers"]
    assert first["questions"] == second["questions"]
    assert first == fingerprint.of_samples([Sample("a", "?", answer)])


class Point(NamedTuple):
    """A point, which is a tuple of a type of its own."""

    x: float
    y: float


def test_an_answer_within_lists_is_as_plain_as_one_alone() -> None:
    alone = [None, True, 2, 0.5, "a", Path("a"), Kind.LEFT, np.float32(0.5), Point(1, 2), (3, [4])]
    one_by_one = [fingerprint.plain(value) for value in alone]
    assert fingerprint.plain(alone) == fingerprint.plain(tuple(alone)) == one_by_one
    # A type of its own is no other answer, and all of them can be hashed.
    assert one_by_one[-2:] == [[1, 2], [3, [4]]]
    assert fingerprint.digest(one_by_one)


@pytest.mark.parametrize(
    "change", [{"id": "b"}, {"question": "which?"}, {"question": "?\ud83d"}, {"subset": "s"}]
)
def test_every_text_of_a_sample_counts(change: dict[str, str]) -> None:
    sample = Sample("a", "?", 1)
    changed = dataclasses.replace(sample, **change)
    assert fingerprint.of_samples([sample]) != fingerprint.of_samples([changed])


def test_a_set_has_the_same_fingerprint_in_every_process() -> None:
    code = (
        "from vrft.evaluation import fingerprint as f; from vrft.types import Sample;"
        "print(f.of_samples([Sample('a', '?', set('abcdefgh'))])['answers'])"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(made) == 1


HELPER = "def points():\n    return {}\n"
TASK = "import helper_of_task\nfrom vrft.task import Task\n\nclass Mine(Task[int]):\n    {}\n"


def test_the_code_of_a_task_counts_and_so_do_the_files_beside_it_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "helper_of_task.py").write_text(HELPER.format(1))
    (tmp_path / "task_with_helper.py").write_text(TASK.format("pass"))
    (tmp_path / "unrelated.py").write_text("pass")
    cls = importlib.import_module("task_with_helper").Mine
    first = fingerprint.code_hash(cls)
    (tmp_path / "unrelated.py").write_text("changed = 1")
    assert fingerprint.code_hash(cls) == first
    (tmp_path / "helper_of_task.py").write_text(HELPER.format(2))
    second = fingerprint.code_hash(cls)
    (tmp_path / "task_with_helper.py").write_text(TASK.format("changed = 1"))
    assert len({first, second, fingerprint.code_hash(cls)}) == 3
    for name in ("helper_of_task", "task_with_helper"):
        monkeypatch.delitem(sys.modules, name)


def test_a_shipped_task_counts_with_its_reader() -> None:
    from vrft_tasks import detection

    files = fingerprint.source_files(detection, {})
    assert {"vrft_tasks.detection", "vrft_tasks._detection"} <= files.keys()
    assert not any(name.startswith("vrft.") for name in files)


def test_a_class_without_a_source_has_no_hash_of_it() -> None:
    assert fingerprint.code_hash(type("Typed", (), {"__module__": "nowhere"})) == ""


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return three pictures, whose files have been there for a while, and an empty cache."""
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "RECENT_NS", 0)
    files = [tmp_path / f"{colour}.png" for colour in ("red", "blue", "green")]
    for file in files:
        Image.new("RGB", (8, 8), file.stem).save(file)
    return files


def test_a_picture_is_read_once_as_long_as_its_file_does_not_change(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint.picture_hashes([*pictures, pictures[0]])
    assert first[0] == first[3] and len(set(first)) == 3
    read: list[Path] = []
    hashed = fingerprint.content_hash

    def watched(path: Path) -> bytes:
        read.append(path)
        return hashed(path)

    monkeypatch.setattr(fingerprint, "content_hash", watched)
    assert fingerprint.picture_hashes([*pictures, pictures[0]]) == first
    assert read == []
    stat, content = pictures[1].stat(), bytearray(pictures[1].read_bytes())
    content[-20] ^= 1
    pictures[1].write_bytes(content)
    os.utime(pictures[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if never written
    assert fingerprint.picture_hashes([*pictures, pictures[0]])[1] != first[1]
    assert read == [pictures[1]]


def test_a_file_that_has_just_changed_is_not_remembered(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "RECENT_NS", 10**15)
    fingerprint.picture_hashes(pictures)
    (file,) = (pictures[0].parent / "cache" / "picture-hashes").glob("*.json")
    rows = json.loads(file.read_text()).values()
    assert [row[:-1] for row in rows] == [[0, 0, 0]] * len(pictures)


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 3}'])
def test_a_damaged_cache_is_written_anew(content: str, pictures: list[Path]) -> None:
    first = fingerprint.picture_hashes(pictures)
    (file,) = (pictures[0].parent / "cache" / "picture-hashes").glob("*.json")
    file.write_text(content.replace("x", str(pictures[0])))
    assert fingerprint.picture_hashes(pictures) == first


def test_without_a_cache_pictures_are_read_each_time(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint.picture_hashes(pictures)
    monkeypatch.setenv("VRFT_CACHE", "/dev/null/nowhere")
    assert fingerprint.picture_hashes(pictures) == first


def test_a_picture_that_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("none.jpg", "pipe.jpg"):
        with pytest.raises(UserError, match=f"{name}: no such picture"):
            fingerprint.picture_hashes([tmp_path / name])


def test_prompts_and_pictures_in_memory_count() -> None:
    sample = Sample("a", "?", 1)
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    task: Any = SimpleNamespace()
    made = [
        fingerprint.of_evaluation(task, [sample], {"a": prompt})
        for prompt in (
            Prompt("?", (red,)),
            Prompt("?", (blue,)),
            Prompt("? Think.", (red,)),
            Prompt("?", (red,), prefill="<think>"),
        )
    ]
    assert made[0]["pictures"] != made[1]["pictures"] and made[0]["prompts"] == made[1]["prompts"]
    assert len({parts["prompts"] for parts in made}) == 3
