"""The settings of an endpoint: how they are given, what contradicts itself, what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vrft.endpoints.endpoint_settings import EndpointConfig, as_written, check, load_endpoint
from vrft.errors import UserError

URL = "http://127.0.0.1:8000/v1"


def test_settings_are_given_by_name_and_options_go_first() -> None:
    words = ["endpoint.family=qwen2_5_vl", "endpoint.extra_body.reasoning_effort=low",
             "endpoint.concurrency=4", "endpoint.omit=seed"]  # fmt: skip
    made = load_endpoint(words, url=URL, model="m", concurrency=16, processor=None)
    assert made == EndpointConfig(
        url=URL,
        model="m",
        family="qwen2_5_vl",
        omit=("seed",),
        extra_body={"reasoning_effort": "low"},
        concurrency=16,
    )


def test_a_processors_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_endpoint([], processor="model").processor == str(tmp_path / "model")
    assert load_endpoint([], processor="Qwen/Qwen2-VL-2B-Instruct").processor.startswith("Qwen/")
    assert load_endpoint([]).processor == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["endpoint.familly=qwen2_vl"], "unknown setting endpoint.familly; did you mean"),
        (["endpoint.timeout=0"], "endpoint.timeout: expected above 0"),
        (["endpoint.retries=-1"], "endpoint.retries: expected at least 0"),
        (["endpoint.resize=mine"], "'mine' is not one of family, server"),
        ([f"endpoint={URL}"], "give its settings by name"),
        ([f"endpoint.url={URL}"], "give it as --endpoint URL"),
        (["endpoint.model=m"], "give it as --model NAME"),
        (["endpoint.family=qwen2_vl", "endpoint.processor=x"], "endpoint.family and endpoint.proc"),
        (["endpoint.family=qwen2_vl", "endpoint.space=pixels"], "give one of them"),
        (["endpoint.space=pixels"], "add endpoint.resize=server"),
        (["endpoint.extra_body.n=4"], "cannot be about 'n'"),
        (["endpoint.omit=messages"], "cannot be about 'messages'"),
        (["endpoint.extra_body.seed=4"], "endpoint.extra_body.seed: .*; set seed"),
        (["endpoint.extra_body.max_tokens=4"], "set sampling.max_completion_length"),
    ],
)
def test_what_contradicts_itself_is_refused(words: list[str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_endpoint(words)


def test_a_parameter_that_is_omitted_may_be_given_anew() -> None:
    words = ["endpoint.omit=max_tokens", "endpoint.extra_body.max_completion_tokens=9"]
    assert load_endpoint(words).extra_body == {"max_completion_tokens": 9}
    check(EndpointConfig(omit=("temperature",), extra_body={"temperature": 1}))


@pytest.mark.parametrize(
    "asking", [{"key_env": "MY_KEY"}, {"concurrency": 2}, {"timeout": 9.0}, {"retries": 0}]
)
def test_what_is_written_has_no_password_and_nothing_that_no_answer_depends_on(
    asking: dict[str, Any],
) -> None:
    url = "http://me:s3cret@127.0.0.1:8000/v1?key=s3cret"
    written = as_written(EndpointConfig(url=url, model="m", **asking))
    assert written == as_written(EndpointConfig(url=URL, model="m"))
    assert "s3cret" not in str(written)
    assert written != as_written(EndpointConfig(url=URL, model="other"))
