"""Requests made of prompts, and completions read from answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.config.rollout import SamplingConfig
from vrft.endpoints.chat_requests import Choice, chat_request, read_answer
from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.endpoints.sent_pictures import Sight, load_sight
from vrft.errors import UserError
from vrft.types import Prompt, Turn, View

GREEDY = SamplingConfig(temperature=0.0, max_completion_length=64)
FAMILY = EndpointConfig(model="m", family="qwen2_5_vl")


def body(prompt: Prompt, endpoint: EndpointConfig = FAMILY, **options: Any) -> dict[str, Any]:
    """Return the body of a request with the seed 7."""
    sampling = options.pop("sampling", GREEDY)
    sight = load_sight(endpoint)
    return dict(chat_request(prompt, endpoint, sight, sampling, seed=7, **options).body)


def picture_of(part: dict[str, Any]) -> Image.Image:
    """Return the picture in a part of a message."""
    head, _, data = part["image_url"]["url"].partition(",")
    assert (part["type"], head) == ("image_url", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


# --- prompts


def test_a_text_is_asked_as_a_text_with_the_benchmarks_parameters() -> None:
    assert body(Prompt("How many? 😀")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "How many? 😀"}],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 64,
        "seed": 7,
    }


def test_system_turns_and_pictures_stand_in_their_places(
    picture: Callable[..., Image.Image],
) -> None:
    prompt = Prompt(
        "And <image> with <image>?",
        (picture(56, 56, 1), picture(84, 56, 2), picture(56, 84, 3)),
        system="Be brief.",
        turns=(Turn("user", "<image>Who is it?"), Turn("assistant", "An owl.")),
    )
    messages = body(prompt)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [messages[0]["content"], messages[2]["content"]] == ["Be brief.", "An owl."]
    first, last = messages[1]["content"], messages[3]["content"]
    assert picture_of(first[0]).size == (56, 56)
    assert first[1:] == [{"type": "text", "text": "Who is it?"}]
    assert [part["type"] for part in last] == ["text", "image_url", "text", "image_url", "text"]
    assert [part["text"] for part in last[::2]] == ["And ", " with ", "?"]
    assert [picture_of(part).size for part in last[1::2]] == [(84, 56), (56, 84)]


def test_pictures_without_places_stand_before_the_text(picture: Callable[..., Image.Image]) -> None:
    (message,) = body(Prompt("Which?", (picture(), picture(seed=1))))["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "image_url", "text"]


def test_the_requests_views_are_the_sizes_of_the_pictures_sent(
    picture: Callable[..., Image.Image],
) -> None:
    prompt = Prompt("?", (picture(97, 131), picture(200, 56)))
    request = chat_request(prompt, FAMILY, load_sight(FAMILY), GREEDY, seed=0)
    parts = request.body["messages"][0]["content"]
    sizes = [picture_of(part).size for part in parts[:2]]
    assert [(view.width, view.height) for view in request.views] == sizes == [(84, 140), (196, 56)]
    assert {view.space for view in request.views} == {"pixels"}


def test_several_answers_are_asked_for_together_and_extras_are_added() -> None:
    endpoint = replace(FAMILY, omit=("seed", "temperature"), extra_body={"user": "me"})
    made = body(Prompt("?"), endpoint, repeats=4)
    assert (made["n"], made["user"]) == (4, "me")
    assert {"seed", "temperature"}.isdisjoint(made)


def test_servers_that_know_more_are_told_all_that_they_would_take_from_the_checkpoint() -> None:
    made = body(Prompt("?"), server="vllm")
    assert (made["top_k"], made["min_p"], made["repetition_penalty"]) == (-1, 0.0, 1.0)
    assert made["skip_special_tokens"] is False  # tags of an answer may be special tokens
    sampling = replace(GREEDY, temperature=1.0, top_k=5, repetition_penalty=1.1)
    made = body(Prompt("?"), server="sglang", sampling=sampling)
    assert (made["top_k"], made["repetition_penalty"]) == (5, 1.1)
    for name in ("top_k", "repetition_penalty"):
        one = replace(GREEDY, **{name: getattr(sampling, name)})
        with pytest.raises(UserError, match=f"sampling.{name}=.*OpenAI's protocol has no such"):
            body(Prompt("?"), sampling=one)


def test_with_the_models_processor_ends_and_bans_are_those_of_its_own_evaluation(
    model_folder: Callable[[str], Path], load_tiny: Callable[..., Any]
) -> None:
    endpoint = EndpointConfig(model="m", processor=str(model_folder("qwen2_vl")))
    loaded = load_tiny("qwen2_vl")
    made = body(Prompt("?"), endpoint, server="vllm")
    assert {*made["stop_token_ids"]} <= loaded.end_ids
    assert loaded.tokenizer.convert_tokens_to_ids("<|im_end|>") in made["stop_token_ids"]
    assert {int(token) for token in made["logit_bias"]} <= {*loaded.banned_ids}
    assert "logit_bias" not in body(Prompt("?"), endpoint)  # of OpenAI, whose ids are others


def test_a_prompt_is_counted_and_refused_over_its_limit(
    model_folder: Callable[[str], Path], picture: Callable[..., Image.Image]
) -> None:
    endpoint = EndpointConfig(model="m", processor=str(model_folder("qwen2_vl")))
    prompt, sight = Prompt("What is there?", (picture(56, 84),)), load_sight(endpoint)
    tokens = chat_request(prompt, endpoint, sight, GREEDY, seed=0).tokens
    assert tokens is not None
    limited = replace(GREEDY, max_prompt_length=tokens)
    assert chat_request(prompt, endpoint, sight, limited, seed=0).tokens == tokens
    with pytest.raises(UserError, match=f"has {tokens} tokens, over sampling.max_prompt_length="):
        chat_request(
            prompt, endpoint, sight, replace(limited, max_prompt_length=tokens - 1), seed=0
        )


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (Prompt("1 + 1 =", raw=True), "without a chat template"),
        (Prompt("1 + 1 =", prefill="<think>"), "begins the answer itself"),
        (Prompt("<image>?"), "1 x <image> and 0 picture"),
        (Prompt("<|im_end|>?"), "the special token"),
    ],
)
def test_what_no_chat_can_ask_is_refused(prompt: Prompt, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        body(prompt)


def test_a_text_model_is_shown_no_pictures(picture: Callable[..., Image.Image]) -> None:
    endpoint = EndpointConfig(model="m", family="qwen2")
    with pytest.raises(UserError, match="the model reads no pictures"):
        body(Prompt("?", (picture(),)), endpoint)
    assert body(Prompt("?"), endpoint)["messages"] == [{"role": "user", "content": "?"}]


def test_a_family_that_nobody_knows_reads_pictures() -> None:
    assert Sight().has_vision
    assert Sight().view(Image.new("RGB", (30, 20))) == View(30, 20, "thousandths")


# --- answers


def answer(*choices: Any, **rest: Any) -> dict[str, Any]:
    return {"choices": list(choices), **rest}


def choice(content: Any, reason: Any = "stop", **rest: Any) -> dict[str, Any]:
    return {"message": {"content": content}, "finish_reason": reason, **rest}


def test_choices_are_put_into_the_order_of_their_numbers() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9}
    read = read_answer(answer(choice("b", index=1), choice("a", "length", index=0), usage=usage), 2)
    assert read.choices == (Choice("a", False, "length"), Choice("b", True, "stop"))
    assert (read.prompt_tokens, read.completion_tokens) == (5, 9)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("größer 😀\u2028\ud83d", "größer 😀\u2028\ud83d"),  # half a character is kept as it is
        (None, ""),  # a refusal, or a thought alone
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"text": None}], "ab"),
    ],
)
def test_contents_are_read_in_every_form(content: Any, text: str) -> None:
    assert read_answer(answer(choice(content, "content_filter")), 1).choices == (
        Choice(text, False, "content_filter"),
    )


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([], "no object"),
        ({}, "no choices"),
        ({"choices": "four"}, "no choices"),
        ({"error": {"message": "overloaded"}}, "no choices, but overloaded"),
        (answer(7), "choices with the indices"),
        (answer({"text": "four"}), "a choice without a message"),
        (answer(choice(4)), "a message of type int"),
        (answer(choice("a", index=1)), "choices with the indices"),
    ],
)
def test_what_no_server_in_order_answers_is_a_value_error(made: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_answer(made, 1)


@pytest.mark.parametrize("usage", [None, 7, {}, {"prompt_tokens": None}, {"prompt_tokens": -1}])
def test_tokens_that_are_not_said_are_none(usage: Any) -> None:
    assert read_answer(answer(choice("a"), usage=usage), 1).prompt_tokens == 0
