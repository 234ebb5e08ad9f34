"""YAML in bounded time and memory: aliases, depth, size, keys given twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vrft import config
from vrft.config import yaml_text
from vrft.errors import UserError
from vrft.evaluation.benchmark import load_benchmark

LAUGHS = "task:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
"""Thirteen lines that mean 9^12 values, hundreds of gigabytes."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # an alias and a merged mapping, as people write them
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        # the same key in two mappings, and the same value twice
        ("- {a: 1}\n- {a: 1}", [{"a": 1}, {"a": 1}]),
        ("a: b\nb: a", {"a": "b", "b": "a"}),
        # collections as values between keys, and tags that fit
        ("a: [1, 2]\nb: {}\nc: !!str 5\nd: !!float 1", {"a": [1, 2], "b": {}, "c": "5", "d": 1.0}),
        # deep, and long
        ("[" * 50 + "]" * 50, json.loads("[" * 50 + "]" * 50)),
        ("- x\n" * 5000, ["x"] * 5000),
        ("", None),
    ],
)
def test_what_people_write_is_read(text: str, value: Any) -> None:
    assert yaml_text.parse(text, "f") == value


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        # aliases of aliases; in the keys of merged mappings
        (LAUGHS, "more than 100,000 values, with those that aliases"),
        (
            "a: &a {b: 1, c: 1, d: 1, e: 1, f: 1, g: 1}\n"
            + "".join(f"x{n}: {{<<: *a}}\n" for n in range(12000)),
            "100,000 values",
        ),
        # a value that holds itself: as a list, as a mapping, two steps away, at the top
        ("task:\n  a: &a [*a]", "line 2: *a stands inside the value that it names"),
        ("a: &a {b: *a}", "line 1: *a stands inside"),
        ("a: &a\n  b: &b [*b, *a]", "line 2: *b stands inside"),
        ("&a\nb: *a", "line 2: *a stands inside"),
        # deeper than Python's stack
        ("a: " + "[" * 5000, "line 1: more than 50 levels of nesting"),
        ("".join(f"{' ' * n}k{n}:\n" for n in range(60)), "line 51: more than 50 levels"),
        # a key twice, of which YAML would drop the first
        ("train: {seed: 1}\ntask: vqa\ntrain: {seed: 2}", "line 3: 'train' is given twice"),
        ("a:\n  1: x\n  '1': y", "line 3: '1' is given twice"),
        # longer than any settings
        ("a: " + "x" * 2**18, "more than 262,144 bytes"),
        # what PyYAML has no error of its own for
        ("a: 2024-13-45", "(month must be in 1..12); put the value in quotes"),
        ("a: " + "1" * 5000, "4300 digits"),
        ("a: 0x_", "put the value in quotes"),
        ("a: !!int ''", "a value that does not fit its !!tag"),
        ("a: !!bool maybe", "a value that does not fit its !!tag"),
        ("a: !!timestamp now", "a value that does not fit its !!tag"),
        # no YAML; an alias of nothing
        ("a: [1", "f: not readable YAML"),
        ("a: &x 1\nb: &x 2", "f: not readable YAML (found duplicate anchor"),
        ("a: *nothing", "f: not readable YAML (found undefined alias"),
    ],
)
def test_what_no_settings_are_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        yaml_text.parse(text, "f")
    message = str(raised.value)
    assert message.startswith("f: ") and said in message and "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("load", [config.load, config.read, load_benchmark])
@pytest.mark.parametrize(("text", "said"), [(LAUGHS, "100,000 values"), ("a: &a [*a]", "inside")])
def test_every_reader_of_settings_has_the_limits(
    load: Callable[[Any], object], text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml: line .*{said}"):
        load(path if load is config.read else str(path))


def test_the_command_line_has_the_limits() -> None:
    for setting, said in (
        ("task.a=&a [*a]", "inside"),
        ("task.a=" + "[" * 5000, "50 levels"),
        ("task.a=2024-13-45", "month must be in"),
        ("a." * 5000 + "b=1", "a path of 5001 keys"),
    ):
        with pytest.raises(UserError, match=said) as raised:
            config.load(None, [setting])
        assert len(str(raised.value)) < 300


def test_a_file_that_is_no_settings_is_refused(tmp_path: Path) -> None:
    large, latin = tmp_path / "large.yaml", tmp_path / "latin.yaml"
    with large.open("wb") as file:
        file.truncate(2**33)  # eight gigabytes of nothing, of which a quarter of a megabyte is read
    latin.write_bytes("a: café".encode("latin-1"))
    for path, said in (
        (large, "large.yaml: more than 262,144 bytes"),
        (latin, "latin.yaml: not readable YAML"),
        (tmp_path, "not readable YAML"),
        (tmp_path / "missing.yaml", "not readable YAML"),
    ):
        with pytest.raises(UserError) as raised:
            yaml_text.read(path)
        assert said in str(raised.value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(UserError, match=r"train\.seed: expected int") as raised:
        config.load(None, ["train.seed=" + "x" * 10_000])
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.1 would read 8, 90 and 5400 seconds
        ("010", "010"),
        ("1:30", "1:30"),
        ("1:30:00.5", "1:30:00.5"),
        # all other numbers, as in YAML 1.1
        ("0", 0),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.0e-6", 1e-6),
        ("-.inf", float("-inf")),
        ("1e-6", "1e-6"),
        ("yes", True),
    ],
)
def test_numbers_are_those_that_people_mean(text: str, value: object) -> None:
    parsed = yaml_text.parse(text, "here")
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # texts as they are typed: YAML would cut, fold or refuse them
        ("Use # sign", "Use # sign"),
        ("# Look {question}", "# Look {question}"),
        ("{question} Answer.", "{question} Answer."),
        ("{question}\nAnswer: {answer}", "{question}\nAnswer: {answer}"),
        ("one\ntwo", "one\ntwo"),
        ("*bold*", "*bold*"),
        ("@me", "@me"),
        # everything else as YAML reads it
        ("'a # b'", "a # b"),
        ('"a\\nb"', "a\nb"),
        ("{image: img}", {"image": "img"}),
        ("[1, 2]", [1, 2]),
        ("5 # five", 5),
        ("null", None),
        ("~", None),
        (" ", None),
    ],
)
def test_a_text_that_is_typed_stays_as_it_is(text: str, value: object) -> None:
    assert yaml_text.parse_typed(text, "here") == value


def test_a_quote_that_is_not_closed_is_refused() -> None:
    with pytest.raises(UserError, match="not readable YAML"):
        yaml_text.parse_typed("'Look", "here")
