"""Requests for completions, and answers that are read or refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import vllm_server as fake
from fakes.attached import SAMPLING, attached, encode, expanded
from PIL import Image

from vrft.engines import requests
from vrft.engines.client import GENERATE
from vrft.errors import UserError
from vrft.policy.policy import ModelPolicy

# --- requests


def test_a_request_names_every_setting_and_one_image_token_a_picture(model: ModelPolicy) -> None:
    prompt = encode(model)[0]
    body = requests.generate_request(model.loaded, "m", prompt, 8, SAMPLING, 5)
    image = model.loaded.core.config.image_token_id
    assert body["token_ids"].count(image) == 2 < prompt.tokens.tolist().count(image)
    assert expanded(model, body) == prompt.tokens.tolist()
    asked = body["sampling_params"]
    assert (asked["n"], asked["seed"], asked["max_tokens"]) == (8, 5, 6)
    assert asked["stop_token_ids"] == sorted(model.loaded.end_ids)
    assert set(asked["logit_bias"]) == {str(token) for token in model.loaded.banned_ids}
    assert {"temperature", "top_p", "top_k", "repetition_penalty"} <= set(asked)


def test_pictures_are_sent_at_the_size_that_the_model_sees(model: ModelPolicy) -> None:
    prompt = encode(model)[0]
    body = requests.generate_request(model.loaded, "m", prompt, 1, SAMPLING, 5)
    sizes = []
    for part in body["content_parts"]:
        data = base64.b64decode(part["url"].partition(",")[2])
        sizes.append(Image.open(io.BytesIO(data)).size)
    assert sizes == [(view.width, view.height) for view in prompt.views]


# --- answers


def test_completions_come_in_order_with_their_log_probabilities(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    groups = engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert [len(group) for group in groups] == [4, 4]
    again = engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert groups == again
    assert all(r.logprobs == (-5.0,) * 6 and not r.finished for g in groups for r in g)
    paths = [path for path, _ in server[1].asked]
    # attached, weights exchanged, a first request with a picture, then those of the two samplings
    assert paths[:5] == [
        *("/version", "/v1/models", "/pause?mode=wait", "/collective_rpc", "/resume")
    ]
    assert paths.count("/inference/v1/generate") == 1 + 2 + 2
    first = next(body for path, body in server[1].asked if path == GENERATE)
    assert first["content_parts"] and first["model"] == "served"
    engine.close()
    assert not engine.files.folder.exists()


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer.pop(key)


def in_choice(**entries: Any) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["choices"][0].update(entries)


GARBAGE = {
    "no choices": (drop("choices"), "no 'choices'"),
    "no prompt": (drop("prompt_token_ids"), "no 'prompt_token_ids'"),
    "too few": (lambda answer: answer["choices"].pop(), "does not return 4 completions"),
    "aborted": (in_choice(finish_reason="abort"), "ended by 'abort'"),
    "no tokens": (in_choice(token_ids=[]), "0 tokens"),
    "cut early": (in_choice(token_ids=[20]), "after 1 of 6 tokens"),
    "too long": (in_choice(token_ids=[20] * 7), "7 tokens of at most 6"),
    "no end": (in_choice(finish_reason="stop"), "ended by 'stop' after 6 of 6"),
    "end inside": (in_choice(token_ids=[0, 20, 20, 20, 20, 20]), r"ends at \[1\]"),
    "no token": (in_choice(token_ids=[20] * 5 + [10**6]), "token 1000000"),
    "null": (in_choice(token_ids=None), "cannot be read"),
    "no log-probs": (in_choice(logprobs=None), "cannot be read"),
    "few log-probs": (in_choice(logprobs={"content": [{"logprob": -1}]}), "are none"),
    "NaN": (in_choice(logprobs={"content": [{"logprob": -9999.0}] * 6}), "are none"),
    "above 1": (in_choice(logprobs={"content": [{"logprob": 0.5}] * 6}), "are none"),
}


@pytest.mark.parametrize("name", list(GARBAGE))
def test_garbage_ends_the_run_in_one_line(
    name: str, model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    spoil, reason = GARBAGE[name]
    engine = attached(model, server[0], tmp_path)
    server[1].spoil = spoil
    with pytest.raises(UserError, match=f"the server failed: .*{reason}"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()


def test_a_picture_marker_in_a_completion_is_garbage(model: ModelPolicy) -> None:
    choice = {
        "index": 0,
        "token_ids": [20, model.loaded.banned_ids[0]],
        "logprobs": {"content": [{"logprob": -1.0}] * 2},
        "finish_reason": "length",
    }
    with pytest.raises(ValueError, match="none that may be sampled"):
        requests.read_choice(choice, model.loaded, 2)


def test_another_prompt_than_the_trainers_is_refused(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    server[1].spoil = lambda answer: answer["prompt_token_ids"].pop()
    with pytest.raises(UserError, match=r"reads a prompt of .* limits of picture sizes"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()
