"""Data sets of the hub and of folders in its form: configurations, splits, pictures."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft import config, records, registry
from vrft.errors import UserError
from vrft.formats import recognition
from vrft.images import open_image
from vrft.records import hub
from vrft.task import Task
from vrft.types import Sample

CARD = """---
license: mit
configs:
- config_name: owls
  data_files:
  - {split: train, path: owls/first.jsonl}
  - {split: test, path: owls/second.jsonl}
- config_name: cats
  data_files: [{split: train, path: cats.jsonl}]
---
# Owls and cats
"""


@pytest.fixture(autouse=True)
def _datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set as the hub keeps it: two configurations, one of them with a second split."""
    folder = tmp_path / "set"
    (folder / "owls").mkdir(parents=True)
    Image.new("RGB", (9, 5)).save(folder / "a.png")
    for name in ("owls/first", "owls/second", "cats"):
        row = {"question": f"How many {name}?", "answer": "3", "image": "a.png"}
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row))
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    Image.new("RGB", (9, 5)).save(tmp_path / "b.png")
    return (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "split", "question"),
    [
        ("owls", "train", "How many owls/first?"),
        ("owls", "test", "How many owls/second?"),
        ("cats", "train", "How many cats?"),
    ],
)
def test_a_configuration_is_read_by_its_name(
    name: str, split: str, question: str, folder: Path
) -> None:
    for limit in (None, 1):
        rows = list(records.read(folder, split, config=name, limit=limit))
        assert [row.text("question") for row in rows] == [question] * (limit or 2)
        assert rows[0].where == f"{folder} {name} {split}: row 0"
        # a path in a row begins at the folder
        assert rows[0].images("image") == (folder / "a.png",)
    reading = recognition.read(folder, split, config=name)
    assert [row.question for row in reading.rows] == [question] * 2


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        # none of two; one that is not there; a split that this one has not
        (None, "train", "has several configurations; choose one by data.config=owls|cats"),
        ("dogs", "train", "no configuration 'dogs'; there is owls, cats"),
        ("cats", "test", "cats test: not readable ("),
    ],
)
def test_a_configuration_that_is_not_there_is_refused(
    name: str | None, split: str, said: str, folder: Path
) -> None:
    with pytest.raises(UserError) as raised:
        list(records.read(folder, split, config=name))
    message = str(raised.value)
    assert message.startswith(str(folder)) and said in message and "\n" not in message


def test_a_default_and_a_single_configuration_need_no_name(folder: Path) -> None:
    for card in (
        CARD.replace("config_name: cats", "config_name: default"),
        CARD.replace("- config_name: cats", "- config_name: cats\n  default: true"),
        "---\nconfigs: [{config_name: only, data_files: cats.jsonl}]\n---\n",
        # a README in whose words the key stands, and none of whose settings is one
        "---\nlicense: mit\n---\nWrite config_name: owls.\n",
    ):
        (folder / "README.md").write_text(card)
        (folder / "train.jsonl").write_text('{"question": "How many dogs?"}')
        # without a name, files are taken by their own names, as ever
        assert [row.text("question") for row in records.read(folder, "train")] == ["How many dogs?"]


def test_what_has_no_configurations_is_refused_with_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cats\.jsonl: a file has no config.*remove data\.config"):
        records.read(folder / "cats.jsonl", "train", config="cats")
    with pytest.raises(UserError, match=r"data\.encoding is not applied to a configuration"):
        records.read(folder, "train", config="cats", encoding="cp1252")
    coco = {"info": {}, "images": [], "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match=r"COCO's json.* has no configurations; remove"):
        recognition.read(tmp_path / "coco.json", "train", config="cats")


TASKS = ["vqa", "grounding", "counting", "spatial", "math", "geoqa", "detection"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_of_rows_takes_the_setting(task: str, folder: Path) -> None:
    def samples(*more: str) -> Sequence[Sample[Any]]:
        settings = [f"task={task}", f"task.data_dir={folder}", *more]
        chosen: Task[Any] = registry.build(config.load(None, settings).task)
        return chosen.samples("test")

    with pytest.raises(UserError, match=r"choose one by data\.config=owls\|cats"):
        samples()
    if task in ("vqa", "counting", "geoqa"):
        assert len(samples("data.config=owls")) == 2
    else:  # which read the rows, and find no options or boxes in them, or pictures
        with pytest.raises(UserError, match="set owls test: row 0"):
            samples("data.config=owls")


def test_the_hubs_numbers_of_classes_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features({"label": datasets.ClassLabel(names=["owl", "barn owl"])})
    data = datasets.Dataset.from_list([{"label": 1}], features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **settings: data)
    assert [row.text("label") for row in records.read("array/SAT", "train")] == ["barn owl"]


@pytest.mark.parametrize("limit", [None, 1])
def test_the_hubs_rows_keep_their_pictures_undecoded(
    limit: int | None, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: dict[str, Any] = {}
    features = datasets.Features(
        {"image": datasets.Image(), "more": [datasets.Image()], "answer": datasets.Value("int64")}
    )
    damaged = {"bytes": b"no picture at all", "path": None}
    rows = [{"image": {"bytes": content, "path": None}, "more": [damaged], "answer": 3}] * 2
    found = datasets.Dataset.from_list(rows, features=features)

    def load_dataset(name: str, config: str | None, *, split: str, streaming: bool) -> Any:
        asked.update(name=name, config=config, split=split, streaming=streaming)
        return found.to_iterable_dataset() if streaming else found

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    read = list(records.read("array/SAT", "train", limit=limit, config="static"))
    assert asked == {
        "name": "array/SAT", "config": "static", "split": "train", "streaming": limit is not None
    }  # fmt: skip
    assert len(read) == (limit or 2)
    assert read[0].where == "array/SAT static train: row 0"
    assert open_image(read[0].images("image")[0]).size == (9, 5)
    # A damaged picture concerns only who asks for it.
    with pytest.raises(
        UserError, match="array/SAT static train: row 0: a picture that cannot be read"
    ):
        read[0].images("more")


def test_without_the_hub_the_message_says_how_to_give_files() -> None:
    with pytest.raises(UserError) as caught:  # tests are offline
        next(records.read("array/SAT", "train"))
    message = str(caught.value)
    assert message.startswith("array/SAT: no split 'train' from the hub (")
    assert "task.data_dir to a folder with train.parquet, train.jsonl" in message
    assert "\n" not in message


def test_a_hub_that_cannot_be_reached_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets
    from huggingface_hub import constants

    def load(*asked: object, **settings: object) -> None:
        pytest.fail("the hub's library was left to wait")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets, "get_dataset_config_names", load)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub, "caches", lambda: (tmp_path,))
    with pytest.raises(UserError, match=r"owner/name: no split .* \(127\.0\.0\.1 cannot be reach"):
        next(records.read("owner/name", "train"))
    # What has been fetched is left to the library, which reads it from its cache.
    (tmp_path / "owner___name").mkdir()
    hub.check_reachable("owner/name")
    hub.check_reachable(str(tmp_path))


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://hub.example", 443),
        ("http://mirror.local", 80),
        ("http://mirror.local:8090/hub", 8090),
    ],
)
def test_a_hub_is_asked_at_the_port_of_its_address(
    endpoint: str, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    asked = []

    def connect(address: tuple[str, int], patience: float) -> socket.socket:
        asked.append(address[1])
        return socket.socket()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub, "caches", lambda: (tmp_path,))
    monkeypatch.setattr(socket, "create_connection", connect)
    hub.check_reachable("owner/name")
    assert asked == [port]
