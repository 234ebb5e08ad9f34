"""The targets of the fuzzer: what reads answers, settings and data, and inputs for each.

An input is a text or the bytes of a file, made of pieces that mean something to the reader; the
fuzzer draws it by hypothesis and then mutates it. A target may raise its declared errors alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from benchmarks.reliability.mutations import mutated, mutated_json
from vrft import answers, config, images, wrapping
from vrft.annotations import labelled
from vrft.boxes import Box, share_in_fractions, written_in_fractions
from vrft.classes import ClassList
from vrft.config import coercion, yaml_text
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import predictions
from vrft.formats import kept_reading
from vrft.numbers import Quantity
from vrft.types import Completion, Sample, View
from vrft_tasks import _detection, _grounding, _lisa_grounding, _math, _spatial, _vqa
from vrft_tasks import counting as counting_task
from vrft_tasks import lisa_grounding as lisa_task
from vrft_tasks import math as math_task
from vrft_tasks._detection import Objects
from vrft_tasks.detection import Detection
from vrft_tasks.grounding import Grounding
from vrft_tasks.vqa import Vqa

VIEWS = (View(84, 56), View(1000, 1000, "thousandths"), View(28, 5600))
ROSES = ClassList.parse(["rose | Rosa", "tree mallow", "F/A-18", "mallow"], "classes")
TWO = Sample("s", "cup", Objects((Box(0.1, 0.1, 0.4, 0.6), Box(0.5, 0.5, 0.9, 0.9))))


@dataclass(frozen=True)
class Target:
    """What one kind of input is given to."""

    run: Callable[[bytes, Path], None]
    """Reads an input; the path is one at which it may write a file, in an empty folder."""
    inputs: st.SearchStrategy[bytes]
    declared: tuple[type[Exception], ...] = ()
    """The errors that it may raise."""
    mutate: Callable[[bytes, random.Random], bytes] = mutated
    """Returns a changed copy of an input."""


def texts(*pieces: str) -> st.SearchStrategy[bytes]:
    """Return texts of some pieces, of marks that stand everywhere, and of any characters."""
    common = ("<think>", "</think>", "<answer>", "</answer>", "(", ")", "[", "]", "{", "}", "$",
              "\\", "\n", " ", ",", ".", "7", "-", "0.5", "1e400", "9" * 400, "é", "\u202e", "答案",
              "not ", "NaN", "\ud83d", "\x00", "\u2028", "'", '"', ":", "|")  # fmt: skip
    parts = st.sampled_from([*pieces, *pieces, *common]) | st.text(max_size=4)
    return st.lists(parts, max_size=24).map(lambda drawn: "".join(drawn).encode(errors=HALVES))


HALVES = "surrogatepass"
"""How half a surrogate pair, which a model may write, stands in bytes."""


def decoded(content: bytes) -> str:
    """Return the text of an input; mutated bytes that are no UTF-8 become other characters."""
    try:
        return content.decode(errors=HALVES)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def on_text(*functions: Callable[[str], Any]) -> Callable[[bytes, Path], None]:
    """Return a target that gives a text to functions, which raise nothing."""

    def run(content: bytes, path: Path) -> None:
        text = decoded(content)
        for function in functions:
            function(text)

    return run


# --- answers


def scored(task: Any, sample: Sample[Any]) -> Callable[[str], None]:
    """Return a function that rewards and scores a text, and finds every number finite."""

    def run(text: str) -> None:
        completion = Completion(text, VIEWS[:1], tokens=9)
        values = dict(task.score(sample, completion).metrics)
        values |= {name: reward(sample, completion) for name, reward in task.rewards().items()}
        for name, value in values.items():
            if value is not None and not math.isfinite(value):
                raise AssertionError(f"{name} is {value}")

    return run


def quantity(text: str) -> None:
    """Read a number, and compare it with another one and with itself."""
    read, other = Quantity.parse(text), Quantity.parse("145°")
    if read is not None and other is not None:
        read.agrees(other)
        if not read.agrees(read):
            raise AssertionError(f"{read} does not agree with itself")


def choice(text: str) -> None:
    """Look for options, which may be parts of the text themselves."""
    answers.choice(text, ("left", "right", "7", "the cup on the left"))
    words = text.split()[:3]
    index = answers.choice(text, words)
    if index is not None and not 0 <= index < len(words):
        raise AssertionError(f"option {index} of {len(words)}")


def box(text: str) -> None:
    """Read boxes and points in every space."""
    for view in VIEWS:
        for fractions in (False, True):
            Box.parse(text, view, fractions)
        for kind in ("box", "boxes", "point", "points"):
            _grounding.read_answer(text, kind, view)
    lisa_task.legacy_box(text, VIEWS[0])
    written_in_fractions(text)
    share_in_fractions([text, None])


def class_list(text: str) -> None:
    """Find a class, and read the text as a list of classes."""
    ROSES.match(text)
    try:
        made = ClassList.parse(text.splitlines(), "classes")
    except UserError:
        return
    made.match(text)
    made.nearest(text[:50])


# --- settings


def settings(content: bytes, path: Path) -> None:
    """Read a text as the words of a command line, and as a file of settings."""
    text = decoded(content)
    words = text.split("\n")
    with contextlib.suppress(UserError):
        config.load(None, words)
    tree = yaml_text.parse(text, "settings")
    if isinstance(tree, Mapping):
        coercion.build(Config, config.loading.expand(tree))


# --- files


def written(path: Path, name: str, content: bytes) -> Path:
    """Write a file into the fuzzer's folder."""
    file = path / name
    file.write_bytes(content)
    return file


def rows(name: str) -> Callable[[bytes, Path], None]:
    """Return a target that reads a file of rows as every task of rows does."""

    def run(content: bytes, path: Path) -> None:
        if not (path / "a.png").exists():
            Image.new("RGB", (84, 56)).save(path / "a.png")
        file = written(path, name, content)
        for task in (Vqa(str(file)), Grounding(str(file)), Detection(str(file))):
            with contextlib.suppress(UserError):
                task.samples("train")
        kept_reading.forget()

    return run


def parquet(content: bytes, path: Path) -> None:
    """Write a table of the types that a text names, and read it as rows."""
    import pyarrow
    import pyarrow.parquet

    kinds = (pyarrow.null(), pyarrow.month_day_nano_interval(), pyarrow.decimal128(5, 2),
             pyarrow.binary(), pyarrow.timestamp("ns", "Europe/Oslo"), pyarrow.duration("us"),
             pyarrow.list_(pyarrow.struct([("bytes", pyarrow.binary())])), pyarrow.date64(),
             pyarrow.map_(pyarrow.string(), pyarrow.int64()), pyarrow.string(), pyarrow.bool_(),
             pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), pyarrow.float16(),
             pyarrow.large_string(), pyarrow.time64("ns"), pyarrow.uint64())  # fmt: skip
    names = ("images", "question", "answer", "solution", "problem", "id", "options", "messages")
    chosen = [(names[byte % 8], kinds[byte // 8 % len(kinds)]) for byte in content[:6]]
    columns = {}
    for place, (name, kind) in enumerate(chosen):
        raw: Any = content[place : place + 5]
        values = (None, raw, raw.hex(), place, place / 3, True, [raw.hex()], [("a", 1)])
        for value in values[place % 8 :] + values:
            try:
                columns[name] = pyarrow.array([value, None], kind)
                break
            except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
                continue
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), path / "rows.parquet")
    except (pyarrow.ArrowException, ValueError):
        return  # a type that no parquet file holds
    rows("rows.parquet")((path / "rows.parquet").read_bytes(), path)


def saved_predictions(content: bytes, path: Path) -> None:
    """Read a file of predictions, and write what was read."""
    file = written(path, "predictions.jsonl", content)
    for prediction in predictions.read_predictions(file):
        predictions.to_line(prediction)


def instances(content: bytes, path: Path) -> None:
    """Read COCO's json as detection does, every picture in it, and score answers to each."""
    if not (path / "a.png").exists():
        Image.new("RGB", (84, 56)).save(path / "a.png")
    task = Detection(str(written(path, "coco.json", content)), queries="all")
    for sample in task.samples("train")[:6]:
        task.prompt(sample)
        for text in (task.reference(sample, VIEWS[:1]), "<answer>No Objects</answer>"):
            scored(task, sample)(text)


def labels(content: bytes, path: Path) -> None:
    """Read labelme's or ReasonSeg's json beside a picture, by both readers of it."""
    folder = path / "train"
    folder.mkdir(exist_ok=True)
    if not (folder / "a.png").exists():
        Image.new("RGB", (84, 56)).save(folder / "a.png")
    written(folder, "a.json", content)
    for read in (
        lambda: _lisa_grounding.read_reasonseg(folder, True),
        lambda: labelled.read(path, "train", labelled.kind_of(path, "train") or "labelme"),
    ):
        with contextlib.suppress(UserError):
            read()


def picture(content: bytes, path: Path) -> None:
    """Open the bytes of a picture, and know its size and hash."""
    images.content_hash(content)
    images.image_size(content)
    images.open_image(content)


def pictures() -> st.SearchStrategy[bytes]:
    """Return small files of every format that this build of Pillow writes."""
    files = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"):
        for mode in ("RGB", "L", "P", "RGBA", "I;16", "1", "CMYK"):
            file = io.BytesIO()
            try:
                Image.new(mode, (9, 7)).save(file, kind)
            except (OSError, ValueError, KeyError):
                continue
            files.append(file.getvalue())
    return st.sampled_from(files)


# --- inputs of files

NUMBERS = st.sampled_from([0, 1, -1, 0.5, 7, 84, 1e400, 10**400, float("nan"), True, 1000, -0.0])
WORDS = st.sampled_from(["a.png", "cup", "red", "7", "yes", "(1,1),(9,9)", "<image>", "A", "../a"
                         "\x00", "", "data:image/png;base64,AA", "http://a/b.png", "a" * 300,
                         "\ud83d", "[[1,2]]", "target", "polygon", "circle", "point",
                         "<answer>7</answer>", "\u202e"])  # fmt: skip
LEAVES = st.none() | NUMBERS | WORDS | st.lists(NUMBERS, max_size=5)
KEYS = st.sampled_from([
    *("id", "images", "image", "question", "answer", "solution", "problem", "prompt", "messages"),
    *("conversations", "role", "content", "from", "value", "options", "objects", "ref", "bbox"),
    *("type", "text", "path", "bytes", "reward_model", "ground_truth", "system", "turns", "repeat"),
    *("tokens", "views", "finished", "categories", "annotations", "width", "height", "file_name"),
    *("image_id", "category_id", "iscrowd", "shapes", "points", "label", "shape_type", "name"),
    *("imageWidth", "imageHeight", "kind", "subset", "extra_info", "index", "category"),
])  # fmt: skip
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS, t, max_size=5), max_leaves=8
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some fields, and any others."""
    return st.builds(
        lambda own, other, left_out: {k: v for k, v in {**other, **own}.items() if k != left_out},
        st.fixed_dictionaries(fields),
        st.dictionaries(KEYS, TREES, max_size=2) | st.just({}),
        st.none() | KEYS,
    )


def some(value: Any) -> st.SearchStrategy[Any]:
    """Return a value that is right, most often, or any other one."""
    return st.one_of(*[st.just(value)] * 8, TREES)


def as_json(tree: Any) -> bytes:
    """Return a tree as JSON, in which half a character stays an escape."""
    return json.dumps(tree).encode()


ROWS = st.lists(
    objects(images=some(["a.png"]), question=some("Which?"), answer=some([1, 1, 9, 9]),
            messages=some([{"role": "user", "content": "<image>?"}]), options=some(["a", "b"]),
            conversations=some([{"from": "human", "value": "?"}, {"from": "gpt", "value": "7"}])),
    min_size=1, max_size=3,
)  # fmt: skip
IMAGE = objects(id=some(1), file_name=some("a.png"), width=some(84), height=some(56))
ENTRY = objects(image_id=some(1), category_id=some(1), bbox=some([1, 1, 9, 9]), iscrowd=some(0))
COCO = objects(
    images=st.lists(IMAGE, min_size=1, max_size=2),
    annotations=st.lists(ENTRY, max_size=2),
    categories=st.lists(objects(id=some(1), name=some("cup")), min_size=1, max_size=2),
)
NAMED = st.sampled_from(["cup", "red cup", "a", "<image>", "\u202e", "{category}", "No Objects"])
SIDES = st.integers(1, 40) | st.floats(0.25, 40)
COCO_READ = st.fixed_dictionaries({
    "images": st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True).map(
        lambda ids: [{"id": n, "file_name": "a.png", "width": 84, "height": 56} for n in ids]
    ),
    "categories": st.tuples(NAMED, NAMED).map(
        lambda names: [{"id": n, "name": name} for n, name in enumerate(names)]
    ),
    "places": st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), SIDES, SIDES, SIDES, SIDES, st.booleans()),
        max_size=5,
    ),
}).map(lambda tree: annotated(tree))  # fmt: skip
"""COCO's json that is right: boxes inside their pictures, ids that are known."""
SHAPE = objects(
    label=some("target"), shape_type=some("polygon"), points=some([[1, 1], [9, 1], [9, 9]])
)
LABELS = objects(shapes=st.lists(SHAPE, max_size=3), text=some(["Which?"]), imageWidth=some(84),
                 imageHeight=some(56))  # fmt: skip
ANSWERED = st.lists(objects(id=some("a"), text=some("7"), views=some([[84, 56, "pixels"]]),
                            repeat=some(0), tokens=some(3), finished=some(True)),
                    max_size=3)  # fmt: skip


def annotated(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return COCO's json with a box for each place: picture, category, box, crowd."""
    images = tree["images"]
    entries = [
        {"image_id": images[image % len(images)]["id"], "category_id": category,
         "bbox": [x, y, width, min(height, 56 - y)], "iscrowd": int(crowd), "id": number}
        for number, (image, category, x, y, width, height, crowd) in enumerate(tree["places"])
    ]  # fmt: skip
    return {"images": images, "categories": tree["categories"], "annotations": entries}


def lines(values: Sequence[Any]) -> bytes:
    """Return values as lines of JSON."""
    return b"\n".join(map(as_json, values))


def cells(values: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV with the first row's columns."""
    import csv

    file = io.StringIO()
    writer = csv.writer(file)
    columns = list(values[0]) or ["question"]
    writer.writerow(columns)
    writer.writerows([[json.dumps(row.get(name)) for name in columns] for row in values])
    return file.getvalue().encode(errors=HALVES)


TARGETS: Mapping[str, Target] = {
    "answers": Target(
        on_text(answers.answer_text, answers.last_answer, answers.legacy_format,
                answers.legacy_answer, answers.follows_format, wrapping.bare, wrapping.uncounted,
                _math.bare, _math.last_box, math_task.final_result, _vqa.truth, _vqa.plain,
                lambda text: _math.told_by_words("7 cm", text)),
        texts("\\boxed{", "```", "**", "So the answer is ", "\\frac{1}{2}", "yes", "$$"),
    ),
    "choices": Target(
        on_text(choice, lambda text: _spatial.legacy_shown(text)),
        texts("left", "right", "(a)", "B.", "7", "the cup ", "or ", "about ", "at least ", "a, b"),
    ),
    "numbers": Target(
        on_text(quantity, answers.whole_number, counting_task.counted, counting_task.legacy_count),
        texts("145°", "\\frac{", "√", "^{", "π", "35°30′", "cm", "x = ", "1,000", "%", "+", "个"),
    ),
    "boxes": Target(
        on_text(box),
        texts("(1,1),(9,9)", "[1, 2, 3, 4]", "(0.1,0.2)", '{"bbox_2d": [', "(1,1),"),
    ),
    "classes": Target(
        on_text(class_list), texts("rose", "tree ", "mallow", "f a 18", "Rosa", " |")
    ),
    "detections": Target(
        on_text(lambda text: _detection.read_answer(text, VIEWS[0]),
                lambda text: _detection.read_legacy_answer(text, VIEWS[0]),
                _detection.wholly_in_fractions,
                scored(Detection("none"), TWO)),
        texts("{'Position': [1, 1, 9, 9], 'Confidence': 0.5}", "{'Position': [", "'Confidence': ",
              "No Objects", "[{", "}]"),
    ),
    "configuration": Target(
        settings,
        texts("task=", "task.data_dir=", "model.", "train.", "algorithm=", "grpo", "gpg",
              "train.learning_rate=", "data.columns.image=", "sampling.temperature: ", "- ", "a: ",
              "&a ", "*a", "!!python/object:os.system ", "!!int ", "=", "extends: ", "[[", "{a: "),
        (UserError,),
    ),
    "predictions": Target(saved_predictions, ANSWERED.map(lines), (UserError,)),
    "records, jsonl": Target(rows("rows.jsonl"), ROWS.map(lines)),
    "records, json": Target(rows("rows.json"), ROWS.map(as_json) | TREES.map(as_json)),
    "records, csv": Target(rows("rows.csv"), ROWS.map(cells)),
    "records, parquet": Target(parquet, st.binary(min_size=1, max_size=12)),
    "COCO": Target(
        instances,
        st.integers(1, 8).flatmap(lambda n: COCO if n == 8 else COCO_READ).map(as_json),
        (UserError,),
        mutated_json,
    ),
    "labelme": Target(labels, LABELS.map(as_json)),
    "pictures": Target(picture, pictures(), (UserError,)),
}  # fmt: skip
"""Name -> target, as the table lists them."""
