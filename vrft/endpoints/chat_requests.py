"""Requests for chat completions, made of prompts, and the completions read from their answers."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vrft.config.rollout import SamplingConfig
from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.endpoints.sent_pictures import Sight
from vrft.errors import UserError
from vrft.models import conversation
from vrft.models.families import VISION_TOKENS
from vrft.system.server_words import reason_of
from vrft.types import Prompt, View

NUMBER = operator.itemgetter(0)

BAN = -100.0
"""The bias of a banned token: the lowest that servers take."""


@dataclass(frozen=True)
class ChatRequest:
    """A request for the answers to one sample, as the body of an HTTP request.

    ``views`` are those of its pictures, and ``tokens`` the prompt's as the model's own processor
    counts them; None without one.
    """

    body: Mapping[str, Any]
    views: tuple[View, ...] = ()
    tokens: int | None = None


@dataclass(frozen=True)
class Choice:
    """One answer: its text, whether it ended by itself, and in which words the server says so."""

    text: str
    finished: bool
    reason: str


@dataclass(frozen=True)
class ChatAnswer:
    """The answers to one request, with the tokens that the server counts; 0 where it does not."""

    choices: tuple[Choice, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0


# --- from a prompt to a request


def chat_request(
    prompt: Prompt,
    endpoint: EndpointConfig,
    sight: Sight,
    sampling: SamplingConfig,
    *,
    seed: int,
    repeats: int = 1,
    server: str = "openai",
) -> ChatRequest:
    """Return the request for ``repeats`` answers to a prompt.

    ``server`` says which parameters it understands. Raises UserError for a prompt that no chat can
    ask, and for one over ``sampling.max_prompt_length`` where tokens can be counted; PictureError
    for a picture that cannot be read.
    """
    check_prompt(prompt, sight)
    views = tuple(sight.view(source) for source in prompt.images)
    tokens = None
    if sight.counter is not None:
        tokens, _ = sight.counter.read(prompt, [(view.width, view.height) for view in views])
        limit = sampling.max_prompt_length
        if limit is not None and tokens > limit:
            raise UserError(f"the prompt {prompt.text[:60]!r} has {tokens} tokens, over "
                            f"sampling.max_prompt_length={limit}; lower endpoint.max_pixels or "
                            "raise the limit")  # fmt: skip
    body = {
        **({"model": endpoint.model} if endpoint.model else {}),
        "messages": messages(prompt, sight),
        **parameters(sampling, seed, server, sight),
        **({"n": repeats} if repeats > 1 else {}),
        **endpoint.extra_body,
    }
    return ChatRequest({k: v for k, v in body.items() if k not in endpoint.omit}, views, tokens)


def check_prompt(prompt: Prompt, sight: Sight) -> None:
    """Raise UserError for a prompt that an endpoint's chat cannot ask, or only in other words."""
    if prompt.raw:
        raise UserError("the task asks without a chat template, and an endpoint always puts one "
                        "around; ask in its chat style (task.style=chat), or a model of your own "
                        "with --model")  # fmt: skip
    if prompt.prefill:
        raise UserError("the task begins the answer itself (prefill), which no chat of OpenAI's "
                        "protocol goes on with; ask a model of your own with --model")  # fmt: skip
    conversation.check_prompt(prompt, has_vision=sight.has_vision)


def messages(prompt: Prompt, sight: Sight) -> list[dict[str, Any]]:
    """Return the messages of a prompt, its pictures as data URIs in their places.

    A message without pictures is a plain text.
    """
    uris = iter([sight.data_uri(source) for source in prompt.images])
    made = []
    for message in conversation.chat_messages(prompt, has_vision=True):
        content = message["content"]
        if isinstance(content, list):
            content = [sent_part(part, uris) for part in content if part.get("text") != ""]
            if all(part["type"] == "text" for part in content):
                content = "".join(part["text"] for part in content)
        made.append({"role": message["role"], "content": content})
    return made


def sent_part(part: Mapping[str, str], uris: Any) -> dict[str, Any]:
    """Return a part of a message as the protocol has it; a picture is the next of ``uris``."""
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": next(uris)}}
    return dict(part)


def parameters(sampling: SamplingConfig, seed: int, server: str, sight: Sight) -> dict[str, Any]:
    """Return the parameters of decoding, those beyond OpenAI's for the servers that know them.

    Raises UserError for a setting that the server does not know.
    """
    given: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_completion_length,
        "seed": seed,
    }
    if server == "openai":
        for name, neutral in (("top_k", 0), ("repetition_penalty", 1.0)):
            if getattr(sampling, name) != neutral:
                raise UserError(
                    f"sampling.{name}={getattr(sampling, name)}: OpenAI's protocol has no such "
                    f"parameter; set it to {neutral}, or name a server that knows it with "
                    "endpoint.server=vllm or sglang"
                )
        return given
    # Named even where they change nothing: these servers would take the checkpoint's own.
    given |= {
        "top_k": sampling.top_k or -1,
        "min_p": 0.0,
        "repetition_penalty": sampling.repetition_penalty,
        # As in our own rollouts: an answer's tags may be special tokens of the checkpoint.
        "skip_special_tokens": False,
    }
    if sight.counter is not None:
        # As in the model's own evaluation: any of its ends ends a turn, and no picture is written.
        tokenizer = sight.counter.tokenizer
        ends = {tokenizer.eos_token_id, conversation.end_of_turn(sight.counter.processor)} - {None}
        known = tokenizer.get_vocab()
        banned = [known[token] for token in VISION_TOKENS if token in known]
        given["stop_token_ids"] = sorted(ends)
        given["logit_bias"] = {str(token): BAN for token in banned}
    return given


# --- from an answer to completions


def read_answer(answer: Any, repeats: int) -> ChatAnswer:
    """Return the completions of a chat completion's JSON, in the order of their numbers.

    Raises ValueError for one that cannot be read, and UserError for fewer completions than were
    asked for.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("no object")
    rows = answer.get("choices")
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError(words_instead(answer))
    if len(rows) != repeats:
        raise UserError(f"the server makes {len(rows)} of {repeats} answers to a request; set "
                        "repeats=1 where it does not know the parameter n")  # fmt: skip
    numbers = [row.get("index", place) if isinstance(row, Mapping) else None
               for place, row in enumerate(rows)]  # fmt: skip
    if sorted(map(str, numbers)) != sorted(map(str, range(repeats))):
        raise ValueError(f"choices with the indices {numbers!r:.60}")
    choices = [read_choice(row) for _, row in sorted(zip(numbers, rows, strict=True), key=NUMBER)]
    usage = answer.get("usage")
    counts = [count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    return ChatAnswer(tuple(choices), *counts)


def words_instead(answer: Mapping[str, Any]) -> str:
    """Return what an answer without choices says instead; some servers send errors so."""
    reason = reason_of(answer) if answer.get("error") else ""
    return f"no choices, but {reason:.200}" if reason else "no choices"


def read_choice(row: Mapping[str, Any]) -> Choice:
    """Return one completion; an empty text where the message has none, as of a refusal.

    Raises ValueError for a choice without a message, or with one of another form.
    """
    message = row.get("message")
    if not isinstance(message, Mapping):
        raise ValueError("a choice without a message")
    content = message.get("content")
    if isinstance(content, list):  # some servers send the text in parts
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    if content is not None and not isinstance(content, str):
        raise ValueError(f"a message of type {type(content).__name__}")
    reason = row.get("finish_reason")
    # Marks of turns or boxes, which come with an answer's tags, are no part of a text of ours.
    return Choice(conversation.MARK.sub("", content or ""), reason == "stop", str(reason))


def count(usage: Any, name: str) -> int:
    """Return a number of tokens from the usage of an answer; 0 where it is not said."""
    number = usage.get(name) if isinstance(usage, Mapping) else None
    return number if isinstance(number, int) and number > 0 else 0
