"""Files of a batch service: requests, one a line in OpenAI's batch format, and their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrft.endpoints.chat_requests import ChatAnswer, read_answer
from vrft.errors import UserError
from vrft.system import disk_errors
from vrft.system.server_words import one_line, reason_of
from vrft.types import Prediction

URL = "/v1/chat/completions"

MOST_REQUESTS = 50_000
"""Requests of one file at most, as OpenAI takes them."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class BatchAnswers:
    """The answers of a batch service, and the reason for each sample that has none, by its id."""

    predictions: tuple[Prediction, ...]
    failures: Mapping[str, str]

    @property
    def note(self) -> str:
        """Return how many requests failed, with the first by name; "" if none did."""
        if not self.failures:
            return ""
        id, reason = next(iter(self.failures.items()))
        return (
            f"{len(self.failures)} requests failed, whose samples count as wrong; the first is "
            f"{id!r}: {reason}"
        )


# --- requests


def write_requests(
    out: Path, bodies: Iterable[tuple[str, Mapping[str, Any]]], max_bytes: int
) -> list[Path]:
    """Write (sample id, body) as requests into one file, or into several of at most ``max_bytes``.

    Several are named out-1.jsonl, out-2.jsonl ... Raises UserError where one of them is there
    already or cannot be written, and for a request that is larger than a file may be. No file is
    seen half-written.
    """
    if out.exists() or numbered(out, 1).exists():
        raise UserError(f"{out}: is there already; delete it, or name another file")
    try:
        with disk_errors.explained(out, then="and write the requests again"):
            return written(out, bodies, max_bytes)
    except (FileExistsError, NotADirectoryError) as error:  # a file where a folder should be
        raise UserError(f"{out}: cannot be written ({error.strerror}); name another") from error


def written(
    out: Path, bodies: Iterable[tuple[str, Mapping[str, Any]]], max_bytes: int
) -> list[Path]:
    """Write requests as ``write_requests`` does, under other names until all are complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partials: list[Path] = []
    size = requests = 0
    try:
        for id, body in bodies:
            line = request_line(id, body)
            if len(line) > max_bytes:
                raise UserError(
                    f"the request of sample {id!r} has {len(line):,} bytes, over {max_bytes:,}; "
                    "lower endpoint.max_pixels, or raise --max-size where the service takes more"
                )
            if not partials or size + len(line) > max_bytes or requests == MOST_REQUESTS:
                partials.append(out.with_name(f"{out.name}.{len(partials) + 1}.part"))
                partials[-1].write_bytes(b"")
                size = requests = 0
            with partials[-1].open("ab") as file:
                file.write(line)
            size, requests = size + len(line), requests + 1
        numbers = range(1, len(partials) + 1)
        names = [out] if len(partials) == 1 else [numbered(out, number) for number in numbers]
        return [partial.rename(name) for partial, name in zip(partials, names, strict=True)]
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def numbered(out: Path, number: int) -> Path:
    """Return the name of one of several files of requests."""
    return out.with_name(f"{out.stem}-{number}{out.suffix}")


def request_line(id: str, body: Mapping[str, Any]) -> bytes:
    """Return one request as a line of JSON, in ASCII, which every service reads."""
    row = {"custom_id": id, "method": "POST", "url": URL, "body": body}
    return (json.dumps(row) + "\n").encode("ascii")


# --- answers


def read_batch(path: Path, repeats: int) -> BatchAnswers:
    """Read a batch service's answers, ``repeats`` to each sample, from a file.

    A sample whose request failed has none: it counts as wrong, and its reason is kept. Of several
    lines for one sample, as of a request sent again, the one with an answer counts. Raises
    UserError, with the number of the line, for a line that cannot be read, for a file of requests,
    and for two answers to a sample.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    answers: dict[str, ChatAnswer] = {}
    failures: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        id, answer = read_line(line, repeats, where)
        if isinstance(answer, str):
            failures[id] = answer
        elif id in answers:
            raise UserError(f"{where}: a second answer to {id!r}; keep one")
        else:
            answers[id] = answer
    made = [
        prediction for id, answer in answers.items() for prediction in to_predictions(id, answer)
    ]
    return BatchAnswers(
        tuple(made), {id: reason for id, reason in failures.items() if id not in answers}
    )


def read_line(line: bytes, repeats: int, where: str) -> tuple[str, ChatAnswer | str]:
    """Return the sample of a line and its answers, or the reason why it has none.

    Raises UserError that begins with ``where`` for a line of another form.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON; fetch the file again") from error
    if not isinstance(row, dict) or not isinstance(row.get("custom_id"), str):
        raise UserError(f'{where}: expected "custom_id" and "response", as a batch service writes')
    id, response = row["custom_id"], row.get("response")
    if response is None and row.get("error") is None:
        hint = "; these are the requests, not their answers" if "body" in row else ""
        raise UserError(f'{where}: has neither "response" nor "error"{hint}')
    if not isinstance(response, dict):
        return id, one_line(reason_of(row)) or "no reason given"
    status, body = response.get("status_code", 200), response.get("body")
    if row.get("error") is not None or status != 200:
        reason = reason_of(body) or reason_of(row) or "no reason given"
        return id, one_line(f"status {status}: {reason}")
    try:
        return id, read_answer(body, repeats)
    except ValueError as error:
        return id, one_line(f"an answer that cannot be read ({error})")
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def to_predictions(id: str, answer: ChatAnswer) -> Sequence[Prediction]:
    """Return the answers to a sample as predictions, without views."""
    # The server counts the tokens of all choices together.
    tokens = answer.completion_tokens if len(answer.choices) == 1 else 0
    return [
        Prediction(id, choice.text, (), repeat, tokens, choice.finished)
        for repeat, choice in enumerate(answer.choices)
    ]
