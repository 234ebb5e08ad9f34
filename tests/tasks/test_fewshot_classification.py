"""Few-shot classification: published rows, test lists and folders; strict and published scores."""

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.classes import ClassList
from vrft.errors import UserError
from vrft.evaluation.benchmark import load_benchmark
from vrft.evaluation.rescoring import score_file
from vrft.images import open_image
from vrft.types import Completion, Sample
from vrft_tasks.fewshot_classification import LABELS, SHOTS, FewshotClassification, Label

HERE = RECORDS / "fewshot_classification"
TASK = FewshotClassification(str(HERE), dataset="flowers102")
DATASETS = ("flowers102", "pets37", "fgvc_aircraft", "cars196")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path_factory.mktemp("cache")))


def sample(label: str, dataset: str = "flowers102") -> Sample[Label]:
    lines = (LABELS / f"{dataset}.txt").read_text(encoding="utf-8").splitlines()
    classes = ClassList.parse(lines, dataset)
    name = classes.named(label)
    assert name is not None
    return Sample("s", "Which species is it?", Label(name, label, classes))


def all_classes(dataset: str) -> list[Sample[Label]]:
    """Return one sample of every class of a data set."""
    lines = (LABELS / f"{dataset}.txt").read_text(encoding="utf-8").splitlines()
    classes = ClassList.parse(lines, dataset)
    return [Sample(name, "?", Label(name, name, classes)) for name in classes.names]


def answered(text: str) -> Completion:
    return Completion(f"<think>petals</think>\n<answer>{text}</answer>")


# --- reading rows


def test_the_published_shots_are_read() -> None:
    samples = TASK.samples("train")
    assert [(s.id, s.answer.name, s.answer.written) for s in samples] == [
        ("0", "garden phlox", "garden phlox"),
        ("1", "garden phlox", "garden phlox"),
        ("2", "desert-rose", "desert-rose"),
        ("3", "desert-rose", "desert-rose"),
        # spelt as in other lists of the same data set
        ("4", "barbeton daisy", "Barberton Daisy"),
        ("5", "lotus", "lotus lotus"),
    ]
    # among them a palette, a CMYK and a grey picture
    assert [open_image(s.images[0]).mode for s in samples] == ["RGB"] * 6


def test_a_test_list_is_read_with_its_paths() -> None:
    samples = TASK.samples("test")
    assert [s.answer.name for s in samples] == ["pink primrose", "rose", "desert-rose"]
    assert samples[1].images == (HERE / "jpg/image_01.jpg",)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "images": ["a.png"], "question": "Which flower?", "answer": "Rose"},
        {"images": ["a.png"], "prompt": [{"role": "user", "content": "q"}], "solution": "Rose"},
        {"img": "a.png", "label": "Rose"},
    ],
)
def test_rows_written_by_hand_are_read(tmp_path: Path, row: dict[str, object]) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "val.jsonl").write_text(json.dumps(row), encoding="utf-8")
    columns = {"image": "img"} if "img" in row else {}
    task = FewshotClassification(str(tmp_path), dataset="flowers102", columns=columns)
    (found,) = task.samples("val")
    assert found.answer.name == "rose"
    # a row's own question is asked; prompts of other tools bring their own format
    asked = row.get("question", "This picture shows a plant. Which species is it?")
    assert found.question == asked
    assert found.columns == {"answer": found.answer.written, **row}


def test_labels_make_the_classes_where_no_list_is_given(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "label": label} for label in ("owl", "barn owl", "owl")]
    (tmp_path / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    first, second, _ = FewshotClassification(str(tmp_path)).samples("test")
    assert first.answer.classes.names == ("barn owl", "owl")
    assert second.answer.classes.match("a barn owl") == "barn owl"


def test_the_encoding_of_rows_and_class_list_is_a_setting(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    row = json.dumps({"image": "a.png", "label": "猫头鹰鸟"}, ensure_ascii=False)
    (tmp_path / "test.jsonl").write_bytes(row.encode("gb2312"))
    (tmp_path / "owls.txt").write_bytes("猫头鹰鸟 | owl\n".encode("gb2312"))
    names = tmp_path / "owls.txt"
    (found,) = FewshotClassification(str(tmp_path), class_list=names, encoding="gb18030").samples(
        "test"
    )
    assert found.answer.name == "猫头鹰鸟" and found.answer.classes.match("owl") == "猫头鹰鸟"
    with pytest.raises(UserError, match=r"test\.jsonl: line 1: not in UTF-8 .*data\.encoding"):
        FewshotClassification(str(tmp_path)).samples("test")
    with pytest.raises(UserError, match=r"class_list: .*owls\.txt: not in UTF-8"):
        FewshotClassification(str(tmp_path), class_list=names).classes([])


def test_csv_and_class_numbers_of_parquet_are_read_by_their_names(tmp_path: Path) -> None:
    import datasets

    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "val.csv").write_text("image,label\na.png,owl\n")
    features = datasets.Features(
        {"image": datasets.Value("string"), "label": datasets.ClassLabel(names=["owl", "barn owl"])}
    )
    data = datasets.Dataset.from_list([{"image": "a.png", "label": 1}], features=features)
    data.to_parquet(str(tmp_path / "test.parquet"))
    for split, name in (("val", "owl"), ("test", "barn owl")):
        (found,) = FewshotClassification(str(tmp_path)).samples(split)
        assert found.answer.name == name


def test_a_class_list_of_ones_own_gives_aliases(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    row = {"image": "a.png", "label": "Tyto alba"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row), encoding="utf-8")
    names = tmp_path / "owls.txt"
    names.write_text("barn owl | Tyto alba\ntawny owl\n", encoding="utf-8")
    (found,) = FewshotClassification(str(tmp_path), class_list=names).samples("test")
    assert (found.answer.name, found.answer.written) == ("barn owl", "Tyto alba")
    with pytest.raises(UserError, match=r"task\.class_list: .*none\.txt is not readable text"):
        FewshotClassification(str(tmp_path), class_list=tmp_path / "none.txt").samples("test")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"image": "a.png", "label": "rows"},
            r"'rows' is no class of flowers102; the nearest is 'rose'; task\.dataset=own",
        ),
        ({"image": "a.png", "label": ""}, r"'' is no class of flowers102"),
        ({"image": "a.png"}, r"no label or answer or solution"),
        ({"label": "rose"}, r"no image or images"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, str], message: str) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "test.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=rf"test\.jsonl: line 1: .*{message}"):
        FewshotClassification(str(tmp_path), dataset="flowers102").samples("test")


# --- reading folders


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with one folder of pictures per class, below each of the given splits."""

    def make(*splits: str, count: int = 6) -> Path:
        for split in splits or (".",):
            for number, name in enumerate(("owl", "barn_owl")):
                folder = tmp_path / split / name
                folder.mkdir(parents=True)
                for picture in range(count):
                    colour = (picture * 9, number * 9, len(split))
                    Image.new("RGB", (56, 56), colour).save(folder / f"{picture}.png")
                (folder / "notes.txt").write_text("no picture")
                (folder / "._0.png").write_text("what a copy to another disk leaves behind")
        return tmp_path

    return make


def test_a_folder_per_split_and_class_is_read(folders: Callable[..., Path]) -> None:
    task = FewshotClassification(str(folders("train", "test")), shots=4)
    train, test = task.samples("train"), task.samples("test")
    assert Counter(s.answer.name for s in train) == {"barn_owl": 4, "owl": 4}
    assert Counter(s.answer.name for s in test) == {"barn_owl": 6, "owl": 6}
    assert test[0].id == "test/barn_owl/0.png"
    assert test[0].columns == {"label": "barn_owl", "answer": "barn_owl"}
    assert test[0].images[0].is_file()  # type: ignore[union-attr]
    assert test[0].answer.classes.match("a Barn Owl!") == "barn_owl"


@pytest.mark.parametrize("splits", [(), ("train",)])
def test_folders_of_classes_have_no_columns_to_name(
    splits: tuple[str, ...], folders: Callable[..., Path]
) -> None:
    task = FewshotClassification(str(folders(*splits)), columns={"label": "name"})
    with pytest.raises(UserError, match=r"have no columns to name; remove data\.columns\.label$"):
        task.samples("train")


def test_pictures_of_every_ending_are_read(folders: Callable[..., Path]) -> None:
    root = folders("test")
    for name in ("a.AVIF", "b.Jp2", "c.JPG"):
        (root / "test" / "owl" / name).touch()
    only = root / "test" / "eagle"  # a class of pictures in one rare format
    only.mkdir()
    (only / "0.avif").touch()
    samples = FewshotClassification(str(root)).samples("test")
    assert Counter(s.answer.name for s in samples) == {"barn_owl": 6, "owl": 9, "eagle": 1}


@pytest.mark.parametrize("split", ["test", "."])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        # pictures that are not opened, or of an unknown kind; deeper down; of no class
        ("owl/2.HEIC", r"owl/2\.HEIC: no picture of a known ending, in the folder of a class"),
        ("owl/0001", r"owl/0001: no picture of a known ending"),
        ("owl/more/1.png", r"owl/more: a folder within that of a class"),
        ("eagle/0.heic", r"eagle/0\.heic: no picture of a known ending"),
        ("eagle/notes.txt", r"eagle: no picture of this class; move the folder away, or fill it"),
        ("1.png", r"1\.png: a picture of no class"),
    ],
)
def test_what_would_be_missing_in_a_class_is_refused(
    name: str, message: str, split: str, folders: Callable[..., Path]
) -> None:
    root = folders(split)
    (root / split / name).parent.mkdir(exist_ok=True)
    (root / split / name).touch()
    with pytest.raises(UserError, match=message):
        FewshotClassification(str(root)).samples("test")


def test_texts_beside_pictures_are_counted_and_what_systems_leave_behind_is_not(
    folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders("test")
    for name in ("owl/Thumbs.db", "owl/desktop.ini", "__MACOSX/owl/0.png", ".cache/0.png"):
        (root / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "test" / name).touch()
    task = FewshotClassification(str(root))
    assert len(task.samples("test")) == len(task.samples("test")) == 12
    # a notes.txt in both classes
    note = f"note: 2 files of text beside the pictures of {root / 'test'} are not read\n"
    assert capsys.readouterr().err == note


def test_classes_of_every_split_are_known_in_each(folders: Callable[..., Path]) -> None:
    root = folders("train", "test")
    eagle = root / "train" / "eagle"
    eagle.mkdir()
    Image.new("RGB", (56, 56)).save(eagle / "0.png")
    found = FewshotClassification(str(root)).samples("test")[0]
    assert found.answer.classes.names == ("barn_owl", "eagle", "owl")


def test_folders_without_splits_are_divided_into_shots_and_the_rest(
    folders: Callable[..., Path],
) -> None:
    task = FewshotClassification(str(folders()), shots=2)
    train, test = ({s.id for s in task.samples(split)} for split in ("train", "test"))
    assert (len(train), len(test)) == (4, 8)
    assert not train & test


def test_files_of_rows_come_before_folders_of_pictures(folders: Callable[..., Path]) -> None:
    root = folders()
    row = {"image": "owl/0.png", "label": "tawny owl"}
    (root / "test.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (found,) = FewshotClassification(str(root)).samples("test")
    assert found.answer.name == "tawny owl"


def test_shots_are_drawn_by_the_seed_alone(folders: Callable[..., Path]) -> None:
    root = str(folders(count=20))

    def drawn(seed: int) -> list[str]:
        return [s.id for s in FewshotClassification(root, shots=3, seed=seed).samples("train")]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_no_shots_are_all_and_scarce_classes_give_what_they_have(
    folders: Callable[..., Path],
) -> None:
    root = str(folders("train"))
    assert len(FewshotClassification(root, shots=0).samples("train")) == 12
    assert len(FewshotClassification(root, shots=50).samples("train")) == 12


def test_folders_of_a_published_data_set_are_known_by_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "test" / "russian_blue"
    folder.mkdir(parents=True)
    Image.new("RGB", (56, 56)).save(folder / "1.jpg")
    (found,) = FewshotClassification(str(tmp_path), dataset="pets37").samples("test")
    assert found.answer.name == "Russian Blue"
    assert len(found.answer.classes.names) == 37


def test_a_split_that_is_not_there_is_named(folders: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="no split 'test'"):
        FewshotClassification(str(folders("train"))).samples("test")


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"no data: set task\.data_dir to .*; or set task\.dataset to flowers102 or "),
        ({"dataset": "pets37", "template": "What?"}, r"task\.template: write \{question\}"),
        ({"dataset": "pets37", "shots": -1}, r"task\.shots: -1 pictures"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FewshotClassification(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_published_set_has_its_list_its_shots_and_its_benchmark(dataset: str) -> None:
    assert (LABELS / f"{dataset}.txt").is_file()
    assert dataset in SHOTS
    benchmark = load_benchmark(dataset, data_dir=str(HERE))
    assert benchmark.task.settings["dataset"] == dataset


def test_the_papers_numbers_have_the_published_averages() -> None:
    papers = [load_benchmark(name, data_dir=str(HERE)).paper for name in DATASETS]
    means = {method: sum(paper[method] for paper in papers) / 4 for method in papers[0]}
    assert means == {
        "base": pytest.approx(56.0, abs=0.06),
        "sft": pytest.approx(55.6, abs=0.06),
        "grpo": pytest.approx(81.9, abs=0.06),
        "gpg": pytest.approx(86.0, abs=0.06),
    }


# --- asking


def test_the_prompt_asks_for_the_published_form_and_lists_no_classes() -> None:
    first = TASK.samples("train")[0]
    prompt = TASK.prompt(first)
    assert prompt.text.startswith("This picture shows a plant. Which species is it?\n")
    assert prompt.text.endswith("<think>your reasoning</think>\n<answer>the name</answer>")
    assert "phlox" not in prompt.text
    assert prompt.images == first.images


def test_question_and_template_are_settings() -> None:
    task = FewshotClassification(
        str(HERE), "flowers102", question="Which {flower}?", template="{question} Answer."
    )
    assert task.prompt(task.samples("test")[0]).text == "Which {flower}? Answer."


@pytest.mark.parametrize("reward", ["accuracy", "legacy"])
def test_the_reference_earns_full_marks(reward: str) -> None:
    task = FewshotClassification(str(HERE), "flowers102", reward=reward)  # type: ignore[arg-type]
    for found in (*task.samples("train"), *task.samples("test")):
        completion = Completion(task.reference(found, ()))
        assert task.score(found, completion).metrics == {"accuracy": 1.0, "legacy_accuracy": 1.0}
        assert [reward(found, completion) for reward in task.rewards().values()] == [1.0, 1.0]


# --- rewards and scores

READINGS = [
    # answer, what it names, right, right as published; the truth is "desert-rose"
    ("desert-rose", "desert-rose", 1, 1),
    # the published rule does not know that hyphens are spaces
    ("Desert_Rose", "desert-rose", 1, 0),
    ("a Desert-Rose.", "desert-rose", 1, 1),
    ("rose", "rose", 0, 1),
    ("a wild pansy", "wild pansy", 0, 0),
    # as published every part of the name is right: nothing, a letter, a hyphen
    ("", None, 0, 1),
    (" ", None, 0, 1),
    ("e", None, 0, 1),
    ("-", None, 0, 1),
    ("desert", None, 0, 1),
    # and every text that has it as a part
    ("rose, desert-rose, lotus or petunia", None, 0, 1),
    ("not a desert-rose but a petunia", None, 0, 1),
    ("tulip", None, 0, 0),
    ("the name", None, 0, 0),
    # published patterns end with the line
    ("desert-rose\n", "desert-rose", 1, 0),
]


@pytest.mark.parametrize(("text", "named", "strict", "legacy"), READINGS)
def test_an_answer_is_right_if_it_names_the_class_and_no_other(
    text: str, named: str | None, strict: int, legacy: int
) -> None:
    score = TASK.score(sample("desert-rose"), answered(text))
    assert score.parsed == named
    assert score.metrics == {"accuracy": strict, "legacy_accuracy": legacy}
    assert TASK.rewards()["accuracy"](sample("desert-rose"), answered(text)) == strict


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("rose", 0),
        ("<think>rose</think>", 0),
        ("<answer>rose", 0),
        ("<answer>tulip</answer><answer>rose</answer>", 0),
        ("<answer>ro\nse</answer> <answer>rose</answer>", 1),
    ],
)
def test_the_published_score_wants_the_first_answer_in_one_line(text: str, metric: int) -> None:
    assert TASK.score(sample("rose"), Completion(text)).metrics["legacy_accuracy"] == metric


def test_answers_to_most_of_a_published_test_set_earn_nothing() -> None:
    # by the published rule "2" is right for 95 % of all cars
    car = sample("2012 Acura RL Sedan", "cars196")
    for text in ("2", "2012", "sedan", "e", "", "Acura"):
        metrics = TASK.score(car, answered(text)).metrics
        assert metrics == {"accuracy": 0.0, "legacy_accuracy": 1.0}


# The published score of one and the same answer to every picture of a test set, in
# percent, measured on the published labels: of aircraft, flowers, pets and cars.
ONE_ANSWER = [
    ("", (100, 100, 100, 100)),
    ("a", (38.9, 72.3, 78.3, 84.5)),
    ("e", (28.1, 72.3, 75.9, 90.1)),
    ("2", (29.0, 0, 0, 95.08)),
    ("2012", (0, 0, 0, 59.1)),
    ("sedan", (0, 0, 0, 23.4)),
    ("-", (66.0, 4.9, 0, 9.8)),
]


@pytest.mark.parametrize(("answer", "measured"), ONE_ANSWER)
def test_one_answer_to_all_classes_scores_as_measured_and_nothing_strictly(
    answer: str, measured: tuple[float, ...]
) -> None:
    for dataset, percent in zip(
        ("fgvc_aircraft", "flowers102", "pets37", "cars196"), measured, strict=True
    ):
        every = all_classes(dataset)
        scores = [TASK.score(one, answered(answer)).metrics for one in every]
        assert not any(metrics["accuracy"] for metrics in scores)
        legacy = 100 * sum(metrics["legacy_accuracy"] for metrics in scores) / len(scores)
        # a class has as many test pictures as any other, nearly; those of flowers differ by far
        assert legacy == pytest.approx(percent, abs=4 if dataset == "flowers102" else 0.7)


def test_six_flowers_are_part_of_the_name_of_others_and_right_for_them_as_published() -> None:
    every = all_classes("flowers102")
    names = [one.answer.name for one in every]
    parts = {
        name: [o.answer.name for o in every if name != o.answer.name and name in o.answer.name]
        for name in names
    }
    contained = [(name, whole) for name, wholes in parts.items() for whole in wholes]
    assert len(contained) == 6
    assert {name for name, _ in contained} == {"rose", "marigold", "petunia", "mallow"}
    for name, whole in contained:
        metrics = TASK.score(sample(whole), answered(name)).metrics
        assert metrics == {"accuracy": 0.0, "legacy_accuracy": 1.0}


def test_empty_answers_score_all_as_published_and_nothing_strictly(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [{"id": str(n), "text": "<think>?</think><answer></answer>"} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    report = score_file(path, load_benchmark("flowers102", data_dir=str(HERE)))
    assert {name: value.mean for name, value in report.metrics.items()} == {
        "accuracy": 0.0,
        "legacy_accuracy": 1.0,
        "macro_accuracy": 0.0,
    }
    assert report.unreadable == report.n == 3


def test_macro_accuracy_is_reported_beside_the_mean(tmp_path: Path) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    labels = ["rose", "rose", "rose", "lotus"]
    rows = [{"image": "a.png", "label": label} for label in labels]
    (tmp_path / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    path = tmp_path / "answers.jsonl"
    lines = [{"id": str(n), "text": "<answer>a rose</answer>"} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    report = score_file(path, load_benchmark("flowers102", data_dir=str(tmp_path)))
    # three of four pictures, one of two classes
    assert report.metrics["accuracy"].mean == 0.75
    assert report.metrics["macro_accuracy"].mean == 0.5


def test_the_published_reward_takes_texts_without_tags_but_no_empty_ones() -> None:
    reward = FewshotClassification(str(HERE), "flowers102", reward="legacy").rewards()["legacy"]
    rose = sample("desert-rose")
    assert reward(rose, Completion("I see a desert-rose.")) == 1.0
    assert reward(rose, answered("rose")) == 1.0
    for text in ("", " \n", "<think></think><answer></answer>", "<answer> _</answer>"):
        assert reward(rose, Completion(text)) == 0.0


ATTACKS = [
    "",
    "rose",
    "<think>rose</think>",
    "<think></think><answer></answer>",
    "<answer>" + ", ".join(sample("rose").answer.classes.names) + "</answer>",
    "<answer>" + "rose " * 2000 + "</answer>",
    TASK.prompt(sample("rose")).text,
]


@pytest.mark.parametrize("text", ATTACKS)
def test_no_attack_earns_anything(text: str) -> None:
    completion = Completion(text)
    score = TASK.score(sample("rose"), completion)
    assert (score.parsed, score.metrics["accuracy"]) == (None, 0.0)
    assert TASK.rewards()["accuracy"](sample("rose"), completion) == 0.0


@pytest.mark.timeout(20)
def test_a_megabyte_of_text_is_scored_in_linear_time() -> None:
    rose = sample("rose")
    for text in (
        "<answer>" * 125_000,
        "<answer>" + "ro " * 333_000 + "</answer>",
        "\n" * 1_000_000,
    ):
        assert TASK.score(rose, Completion(text)).metrics["accuracy"] == 0.0


def test_task_and_sample_travel_to_other_processes() -> None:
    found = TASK.samples("train")[0]
    assert pickle.loads(pickle.dumps((TASK, found))) == (TASK, found)


def test_a_configuration_of_the_data_is_chosen(tmp_path: Path) -> None:
    """A folder in the hub's form, whose README lists two lists of pictures."""
    card = ["---", "configs:"]
    for name in ("owls", "cats"):
        Image.new("RGB", (28, 28)).save(tmp_path / f"{name}.png")
        picture = str(tmp_path / f"{name}.png")
        row = {"image": picture, "label": name}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        card += [f"- config_name: {name}", f"  data_files: {name}.jsonl"]
    (tmp_path / "README.md").write_text("\n".join([*card, "---"]), encoding="utf-8")
    task = FewshotClassification(str(tmp_path), config="owls")
    (sample,) = task.samples("train")
    assert sample.answer.name == "owls"
    with pytest.raises(UserError, match=r"no configuration 'dogs'; there is owls, cats"):
        FewshotClassification(str(tmp_path), config="dogs").samples("train")
    with pytest.raises(UserError, match=r"choose one by data\.config=owls\|cats"):
        FewshotClassification(str(tmp_path)).samples("train")
