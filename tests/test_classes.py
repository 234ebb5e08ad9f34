"""Class names: lists and their aliases, and which class an answer means."""

import pickle
from pathlib import Path

import pytest

import vrft_tasks
from vrft.classes import ClassList, macro_accuracy
from vrft.errors import UserError

LABELS = Path(vrft_tasks.__path__[0]) / "labels"
FLOWERS = ClassList.parse(
    ["rose", "desert-rose", "mallow", "tree mallow", "sword lily | gladiolus", "", "colt's foot"],
    "flowers.txt",
)


def shipped(name: str) -> ClassList:
    path = LABELS / f"{name}.txt"
    return ClassList.parse(path.read_text(encoding="utf-8").splitlines(), path.name)


# --- lists


@pytest.mark.parametrize(
    ("name", "count"),
    [("flowers102", 102), ("pets37", 37), ("fgvc_aircraft", 100), ("cars196", 196)],
)
def test_the_shipped_lists_have_the_published_number_of_classes(name: str, count: int) -> None:
    classes = shipped(name)
    assert len(set(classes.names)) == len(classes.names) == count


# the share of the test pictures for which the published rule accepts one constant answer, in
# percent; pictures are spread over the classes nearly evenly, so the share of classes is near it
WEAK = [
    ("fgvc_aircraft", "a", 38.9),
    ("fgvc_aircraft", "e", 28.1),
    ("fgvc_aircraft", "2", 29.0),
    ("fgvc_aircraft", "-", 66.0),
    ("pets37", "a", 78.3),
    ("pets37", "e", 75.9),
    ("pets37", "-", 0.0),
    ("cars196", "a", 84.5),
    ("cars196", "e", 90.1),
    ("cars196", "2", 95.08),
    ("cars196", "2012", 59.1),
    ("cars196", "sedan", 23.4),
    ("cars196", "-", 9.8),
    ("flowers102", "e", 72.3),
    ("flowers102", "2", 0.0),
]


@pytest.mark.parametrize(("name", "answer", "percent"), WEAK)
def test_the_shipped_names_are_spelt_as_the_published_ones(
    name: str, answer: str, percent: float
) -> None:
    names = [n.lower() for n in shipped(name).names]
    assert 100 * sum(answer in n for n in names) / len(names) == pytest.approx(percent, abs=0.7)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["rose", "Rose"], r"list: line 2: 'Rose' names 'rose' already; correct it"),
        (["rose | tulip", "tulip"], r"list: line 2: 'tulip' names 'rose' already"),
        (["rose | "], r"list: line 1: '' names nothing"),
        (["rose", "?!"], r"list: line 2: '\?!' names nothing"),
        (["", " "], r"list: no classes; write one a line"),
        (["rose", "", "rose"], r"list: line 3: 'rose' names 'rose' already"),
    ],
)
def test_an_ambiguous_list_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ClassList.parse(lines, "list")


def test_an_alias_may_repeat_its_own_class() -> None:
    assert ClassList.parse(["desert-rose | Desert Rose"], "list").names == ("desert-rose",)


def test_the_whole_text_names_a_class_or_none() -> None:
    assert FLOWERS.named("Desert_Rose") == "desert-rose"
    assert FLOWERS.named("a rose") is None
    assert FLOWERS.nearest("tree malow") == "tree mallow"
    assert FLOWERS.nearest("") in FLOWERS.names


def test_a_list_travels_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(FLOWERS)) == FLOWERS


# --- answers

MATCHED = [
    # a name, in any case and punctuation, or an alias
    ("rose", "rose"),
    ("ROSE.", "rose"),
    ("desert_rose", "desert-rose"),
    ("DesertRose", "desert-rose"),
    ("Gladiolus", "sword lily"),
    ("coltsfoot", "colt's foot"),
    ("colt\u2019s foot", "colt's foot"),
    # a phrase around one name; the longest counts
    ("It is a desert rose, I think.", "desert-rose"),
    ("a tree mallow", "tree mallow"),
    ("rose (Rosa), a rose", "rose"),
    ("sword lily, that is a gladiolus", "sword lily"),
    # the same letters across words that are no whole name
    ("primrose", None),
    ("roses", None),
    # as models wrap it
    ("**Answer:** desert rose", "desert-rose"),
    ("\\boxed{\\text{Desert Rose}}", "desert-rose"),
    ("```\ndesert rose\n```", "desert-rose"),
    ("答案：rose。", "rose"),
    ("Ｒｏｓｅ", "rose"),
    ("Rose is the correct answer.", "rose"),
    # past a denial
    ("This is not a rose", None),
    ("It isn't a desert rose.", None),
    ("anything but a rose", None),
    ("other than a rose", None),
    ("A rose is not what this is.", None),
    ("rose is wrong", None),
    ("hardly a rose", None),
    ("I doubt it is a rose", None),
    ("far from a rose", None),
    ("without a rose", None),
    ("A rose is out of the question", None),
    ("without doubt a rose", "rose"),
    ("a rose, hardly a tulip", "rose"),
    ("a rose? It is no rose", None),
    ("不是 rose", None),
    # a denial of something else
    ("a rose, not a tulip", "rose"),
    ("I see no petals, but a rose", "rose"),
    ("no doubt a rose", "rose"),
    # several classes
    ("rose or mallow", None),
    ("desert-rose, rose", None),
    # none
    ("", None),
    (" \n", None),
    ("-", None),
    ("r", None),
    ("tulip", None),
    # every class at once
    (", ".join(FLOWERS.names), None),
]


@pytest.mark.parametrize(("answer", "name"), MATCHED)
def test_an_answer_means_the_one_class_that_it_names(answer: str, name: str | None) -> None:
    assert FLOWERS.match(answer) == name


DATASETS = ("flowers102", "pets37", "fgvc_aircraft", "cars196")


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("answer", ["", "a", "e", "2", "2012", "sedan", "-", "the", "species name"])
def test_no_short_answer_names_a_published_class(name: str, answer: str) -> None:
    assert shipped(name).match(answer) is None


@pytest.mark.parametrize("name", DATASETS)
def test_every_published_spelling_means_its_class_alone_and_in_a_phrase(name: str) -> None:
    classes = shipped(name)
    for canonical in classes.names:
        assert classes.match(canonical) == canonical
        assert classes.match(f"This is the {canonical.upper()}!") == canonical


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("fgvc_aircraft", "Boeing 737-200", "737-200"),
        ("fgvc_aircraft", "FA-18 Hornet", "F/A-18"),
        # a family is no variant
        ("fgvc_aircraft", "Boeing 737", None),
        # the year is part of a car's class, before the name or after it
        ("cars196", "Audi S4 Sedan 2007", "2007 Audi S4 Sedan"),
        ("cars196", "Audi S4 Sedan", None),
        ("cars196", "2007 Audi S4 Sedan 2012", None),
        ("pets37", "St. Bernard dog", "Saint Bernard"),
    ],
)
def test_published_classes_are_told_apart(name: str, answer: str, expected: str | None) -> None:
    assert shipped(name).match(answer) == expected


def test_a_denial_in_the_name_of_a_class_denies_nothing() -> None:
    flowers = ClassList.parse(["forget-me-not", "rose", "no entry sign"], "flowers.txt")
    assert flowers.match("It is a forget-me-not.") == "forget-me-not"
    assert flowers.match("not a forget-me-not") is None
    assert flowers.match("The no entry sign") == "no entry sign"


def test_a_class_may_be_called_as_answers_are_worded() -> None:
    wordings = ClassList.parse(["the answer is yes", "yes", "result"], "wordings.txt")
    assert wordings.match("The answer is yes") == "the answer is yes"
    assert wordings.match("Result") == "result"


def test_a_short_class_is_named_by_the_whole_answer_only() -> None:
    digits = ClassList.parse(["0", "1", "10"], "digits.txt")
    assert digits.match("1") == "1"
    assert digits.match("it is 1") is None
    assert digits.match("\\boxed{10}") == "10"
    assert digits.match("１个") == "1"


def test_two_letters_within_a_phrase_mention_no_class() -> None:
    animals = ClassList.parse(["ox", "cow"], "animals.txt")
    assert animals.match("ox") == "ox"
    assert animals.match("an ox here") is None
    assert animals.match("a cow here") == "cow"


def test_of_spellings_with_the_same_beginning_the_longest_is_mentioned() -> None:
    trees = ClassList.parse(["oak", "oak tree"], "trees.txt")
    assert trees.match("I see an oak tree here") == "oak tree"
    assert trees.match("I see an oak here") == "oak"


def test_ligatures_and_accents_are_the_letters_that_they_show() -> None:
    # "fi" as one character, and an "e" with the accent behind it as a character of its own
    assert ClassList.parse(["finch"], "birds.txt").match("a \ufb01nch here") == "finch"
    assert ClassList.parse(["café"], "places.txt").match("a cafe\u0301 here") == "café"


def test_digits_of_other_scripts_are_other_words() -> None:
    assert shipped("fgvc_aircraft").match("٧٣٧-٢٠٠") is None


@pytest.mark.timeout(20)
def test_a_megabyte_of_text_names_no_class() -> None:
    for text in ("rose " * 200_000, "a" * 1_000_000, "- " * 500_000):
        assert FLOWERS.match(text) is None


# --- metrics


def test_macro_accuracy_counts_every_class_alike() -> None:
    # rose: 3 of 4; mallow: 0 of 1; their mean is 0.375, while 3 of 5 are right
    classes = ["rose", "rose", "mallow", "rose", "rose"]
    assert macro_accuracy(classes, [1, 1, 0, 1, 0]) == pytest.approx(0.375)
