"""Files of a batch service: requests in several files, and answers with failures among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.chat_server import completion

from vrft.endpoints.batch_requests import read_batch, write_requests
from vrft.errors import UserError
from vrft.types import Prediction

# --- requests


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_requests_are_written_in_the_form_of_the_service(tmp_path: Path) -> None:
    out = tmp_path / "new" / "requests.jsonl"
    assert write_requests(out, [("größe\u2028", {"model": "m"}), ("b", {})], 10_000) == [out]
    assert rows(out) == [
        {"custom_id": "größe\u2028", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "m"}},
        {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": {}},
    ]  # fmt: skip
    assert [*out.parent.iterdir()] == [out]


def test_requests_go_to_several_files_that_keep_to_the_size(tmp_path: Path) -> None:
    bodies = [(str(n), {"text": "x" * 100}) for n in range(10)]
    files = write_requests(tmp_path / "r.jsonl", bodies, 500)
    # A line has 82 characters around the text of 100 and its name of 1: two of them fit into 500.
    assert [file.name for file in files] == [f"r-{n}.jsonl" for n in range(1, 6)]
    assert all(file.stat().st_size <= 500 for file in files)
    assert [row["custom_id"] for file in files for row in rows(file)] == [str(n) for n in range(10)]


def test_no_file_has_more_requests_than_the_service_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vrft.endpoints.batch_requests.MOST_REQUESTS", 2)
    files = write_requests(tmp_path / "r.jsonl", [(str(n), {}) for n in range(5)], 10_000)
    assert [len(rows(file)) for file in files] == [2, 2, 1]


def test_a_failure_leaves_nothing_half_written(tmp_path: Path) -> None:
    def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "a", {}
        raise UserError("sample 'b': gone")

    with pytest.raises(UserError, match="gone"):
        write_requests(tmp_path / "r.jsonl", bodies(), 10_000)
    with pytest.raises(UserError, match=r"the request of sample 'b' has .* bytes, over 300"):
        write_requests(tmp_path / "r.jsonl", [("a", {}), ("b", {"text": "x" * 300})], 300)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["r.jsonl", "r-1.jsonl"])
def test_a_file_that_is_there_is_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=r"r\.jsonl: is there already"):
        write_requests(tmp_path / "r.jsonl", [("a", {})], 10_000)
    assert (tmp_path / name).read_text() == "mine"


# --- answers


def line(id: str, *texts: str, **rest: Any) -> str:
    """Return a line as a service writes it."""
    body = json.loads(completion(*texts).text)
    response = {"status_code": 200, "request_id": "r", "body": body}
    row = {"id": "batch_1", "custom_id": id, "response": response, "error": None}
    return json.dumps(row | rest) + "\n"


def failed(id: str, status: int, message: str) -> str:
    body = {"error": {"message": message}}
    return line(id, "", response={"status_code": status, "body": body})


def write(path: Path, *lines: str) -> Path:
    file = path / "answers.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_answers_are_read_in_any_order_and_failures_by_name(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        line("b", "größer\n😀"),
        failed("c", 400, "too\nlarge"),
        "\n",
        line("d", "", response=None, error={"code": "batch_expired", "message": "expired"}),
        line("e", "", response={"status_code": 200, "body": {"choices": []}}),
        line("a", "four"),
    )
    read = read_batch(file, 1)
    assert read.predictions == (
        Prediction("b", "größer\n😀", tokens=7),
        Prediction("a", "four", tokens=7),
    )
    assert read.failures == {
        "c": "status 400: too large",
        "d": "expired",
        "e": "an answer that cannot be read (no choices)",
    }
    assert read.note == (
        "3 requests failed, whose samples count as wrong; the first is 'c': status 400: too large"
    )


def test_several_answers_to_a_sample_are_its_repeats(tmp_path: Path) -> None:
    read = read_batch(write(tmp_path, line("a", "four", "five")), 2)
    # Their tokens are counted together, so that those of each are not known.
    assert read.predictions == (Prediction("a", "four"), Prediction("a", "five", repeat=1))
    assert read.note == ""


def test_a_request_sent_again_has_its_answer_whatever_the_order(tmp_path: Path) -> None:
    for lines in (
        (failed("a", 500, "no"), line("a", "four")),
        (line("a", "4"), failed("a", 5, "")),
    ):
        read = read_batch(write(tmp_path, *lines), 1)
        assert ([p.sample_id for p in read.predictions], read.failures) == (["a"], {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{half", "line 2: not JSON"),
        ('{"custom_id": 7, "response": {}}\n', 'line 2: expected "custom_id"'),
        ('{"custom_id": "a", "body": {}}\n', "line 2: .*these are the requests"),
        ('{"custom_id": "a"}\n', 'line 2: has neither "response" nor "error"'),
        (line("z", "four"), "line 2: a second answer to 'z'"),
        (line("a", "four", "five"), "line 2: the server makes 2 of 1 answers"),
        ("[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_line_of_another_form_is_refused_with_its_number(
    text: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"answers\.jsonl {reason}"):
        read_batch(write(tmp_path, line("z", "one"), text), 1)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_batch(tmp_path / "none.jsonl", 1)
