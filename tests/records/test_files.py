"""Rows of files: kinds by what they hold, encodings, and limits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.records import files, texts


def rows(path: Path, encoding: str = "") -> list[Any]:
    return [row for row, _ in files.read(path, encoding)]


TWO = '{"a": "left"}\n{"a": "right"}\n'
LIST = '[{"a": "left"},\n {"a": "right"}]'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        # as the name says; each in the other's place; a list on a single line; with blank lines
        ("a.jsonl", TWO),
        ("a.json", LIST),
        ("a.json", TWO),
        ("a.jsonl", LIST),
        ("a.jsonl", LIST.replace("\n", "")),
        ("a.json", "\n  " + LIST),
        ("a.jsonl", "\n" + LIST),
        ("a.jsonl", TWO.replace("\n", "\r\n\r\n")),
        # the same as CSV, with a blank line and breaks of Windows
        ("a.csv", "a\nleft\nright\n"),
        ("a.csv", 'a\r\n"left"\r\n\r\nright'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_are_read_by_what_the_file_holds(
    name: str, content: str, encoding: str, tmp_path: Path
) -> None:
    if encoding == "utf-16" and (name, content) == ("a.json", TWO):
        pytest.skip("JSON lines under the name of JSON are told in UTF-8 alone")
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert rows(tmp_path / name) == [{"a": "left"}, {"a": "right"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_value_of_csv_keeps_its_line_breaks(encoding: str, tmp_path: Path) -> None:
    text = 'a,b\r\n"Which?\nA. left\r\nB. right",A\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert rows(tmp_path / "a.csv") == [{"a": "Which?\nA. left\r\nB. right", "b": "A"}]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("header", ["a{}b", '"a, b"{}"c"', "sep={}\na{}b"])
def test_columns_that_something_else_sets_apart_are_refused(
    mark: str, header: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1{{}}2\n".replace("{}", mark))
    with pytest.raises(UserError, match=rf"columns set apart by {re.escape(repr(mark))}; save it"):
        rows(tmp_path / "a.csv")


def test_the_line_that_tells_excel_of_commas_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=,\r\na,b\r\n1\r\n")
    with pytest.raises(UserError, match=r"line 3: 1 values for 2 columns"):
        rows(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("sep=,\r\na,b\r\n1,2\r\n")
    assert rows(tmp_path / "a.csv") == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "big5", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_other_encodings_are_read_where_they_are_named(
    name: str, encoding: str, tmp_path: Path
) -> None:
    text = "左右" if encoding != "shift_jis" else "左は"
    content = {"a.json": f'[{{"a": "{text}"}}]', "a.jsonl": f'{{"a": "{text}"}}',
               "a.csv": f"a\n{text}\n"}[name]  # fmt: skip
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert rows(tmp_path / name, encoding) == [{"a": text}]
    if encoding.startswith("utf"):
        assert rows(tmp_path / name) == [{"a": text}]  # by the byte order mark
        return
    with pytest.raises(UserError, match=rf"{name}.*: not in UTF-8 .*data\.encoding=gb18030"):
        rows(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        # objects that are no list of rows, and what they are
        ("a.json", {"images": [], "annotations": [], "categories": []}, "COCO's json"),
        ("a.json", {"shapes": [], "imagePath": "a.jpg"}, "labelme's json"),
        ("a.json", {"version": 1, "data": [{"a": 1}]}, "its `data` may be the rows"),
        ("a.json", {"a": [1, 2], "b": [3, 4]}, "dict of columns"),
        ("a.json", {"a": 1}, r"one row alone is written as \[\{...\}\]"),
        # JSON lines, the second damaged
        ("a.json", '{"a": 1}\n{"a": \n', r"a\.json: line 2: not readable JSON"),
        ("a.jsonl", "[" * 100_000, "not readable JSON"),
        # CSV: a value too many, two of a name, no names, semicolons, tabs, an open quote
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 values for 2 columns"),
        ("a.csv", "a,a\n1,2\n", "line 1: expected names of columns, each once"),
        ("a.csv", "\n1,2\n", "line 1: expected names of columns"),
        ("a.csv", "", "line 1: expected names of columns"),
        ("a.csv", "a;b\n1;2\n", "columns set apart by ';'; save it with commas"),
        ("a.csv", "a\tb\n1\t2\n", r"set apart by '\\t'"),
        ("a.csv", 'a,b\n"1,2\n', "not readable CSV"),
        ("a.csv", "a,b\r1,2\r", "a carriage return alone ends its lines"),
        # a key given twice, of which JSON's readers drop the first
        ("a.jsonl", '{"image": "a", "image": "b"}', "line 1: .*'image' is given twice"),
        ("a.json", '[{"a": {"b": 1, "c": 2, "b": 3}}]', "'b' is given twice"),
        ("a.json", {"a": {"0": 1}, "b": {"0": 2}}, r"dict of columns; .* lines=True"),
        ("a.json", {"question": {"x": "Q"}, "answer": {"x": "A"}}, r"dict of columns; .*True"),
        # rows by their ids, one with another
        ("a.json", {"a": {"id": "b", "question": "Q"}}, "row 'a' has the id 'b'; write the rows"),
        ("a.arrow", "words", "not readable arrow"),
        ("a.txt", "words", "unknown kind of file; give one of .parquet, .jsonl"),
        ("a.JSONL", "{}", r"rename it to \.jsonl, in small letters"),
        ("a.tsv", "a", r"save it as \.csv with commas"),
        ("a.jsonl.gz", "a", "unpack it"),
        ("a.pkl", "a", "it may run code"),
    ],
)
def test_what_is_no_rows_is_named_in_one_line(
    name: str, content: Any, message: str, tmp_path: Path
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        rows(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_csv_has_texts_lists_and_nothing(tmp_path: Path) -> None:
    # pandas writes a column without a name for the number of the row
    content = ',image,answer\n0,"a,b.png","say ""no"""\n1,,"two\nlines"\n'
    (tmp_path / "a.csv").write_text(content)
    found = list(files.read(tmp_path / "a.csv"))
    assert found == [
        ({"": "0", "image": "a,b.png", "answer": 'say "no"'}, "line 2"),
        ({"": "1", "image": None, "answer": "two\nlines"}, "line 4"),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_an_endless_line_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "LONGEST_LINE", 2**20)
    (tmp_path / name).write_text(TWO + "x" * (2**20 + 1))
    with pytest.raises(UserError, match="line 3: longer than 1 MB; keep pictures as files"):
        rows(tmp_path / name)


# --- folders of save_to_disk


def test_the_state_of_a_saved_folder_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../../etc/a.arrow"}]}')
    assert files.saved_files(tmp_path, "train") == [tmp_path / "a.arrow"]
    (tmp_path / "state.json").write_text('{"_data_files": 3}')
    with pytest.raises(UserError, match="save_to_disk that is not read; save it again"):
        files.saved_files(tmp_path, "train")


def test_spaces_of_a_csv_are_no_part_of_names_and_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('image, question ,answer\na.png, "Which, say?", 3\n')
    found = list(files.read(tmp_path / "a.csv"))
    assert found == [({"image": "a.png", "question": "Which, say?", "answer": "3"}, "line 2")]


def test_rows_by_their_ids_are_rows(tmp_path: Path) -> None:
    file = tmp_path / "problems.json"  # as ScienceQA and GQA publish theirs
    rows = {"7": {"question": "Which?", "answer": 0}, "x": {"id": "x", "question": "How many?"}}
    file.write_text(json.dumps(rows))
    assert [*files.read_json_rows(file)] == [
        ({"id": "7", "question": "Which?", "answer": 0}, "row '7'"),
        ({"id": "x", "question": "How many?"}, "row 'x'"),
    ]
