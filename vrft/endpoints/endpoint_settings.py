"""The settings of an endpoint: which server is asked, how, and how it sees pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vrft import config, paths
from vrft.config import coercion
from vrft.config.coercion import Above0, Count, Place, Size
from vrft.endpoints.server_address import read_address
from vrft.errors import UserError

KEY_NAME = "OPENAI_API_KEY"

Server = Literal["auto", "openai", "vllm", "sglang"]


@dataclass(frozen=True)
class EndpointConfig:
    """A chat server with OpenAI's protocol, the model that it is asked for, and its pictures.

    Settings are given as ``endpoint.family=qwen2_5_vl``; url and model as options.
    """

    url: str = ""
    """Address up to /v1; never written down with a password or a query."""
    model: str = ""
    family: str = ""
    """The model's family, by the name in its config.json, such as qwen2_5_vl: at which size it sees
    pictures, and in which space it writes coordinates, both as its published models do."""
    processor: Place = ""
    """The model's folder or hub id instead, whose processor says both; prompts are counted too."""
    min_pixels: Count | None = None
    max_pixels: Count | None = None
    """Limits of a picture's area, other than those of the family or processor."""
    resize: Literal["family", "server"] = "family"
    """family: pictures are sent at the size that the model sees. server: they are sent as they are,
    and the server resizes them by a rule of its own."""
    space: Literal["", "thousandths", "pixels"] = ""
    """The space of coordinates of a model of no known family; pixels are those sent."""
    server: Server = "auto"
    """What the server understands beside OpenAI's protocol; auto asks its list of models."""
    omit: tuple[str, ...] = ()
    """Parameters that are not sent, such as temperature, as some models refuse them; the server's
    own values hold then."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters of every request, such as reasoning_effort."""
    key_env: str = KEY_NAME
    """The environment variable that has the key."""
    concurrency: Count = 8
    """Requests at a time."""
    timeout: Above0 = 600.0
    """Seconds in which a request must be answered, to the last byte."""
    retries: Size = 8
    """How often a request is repeated that was not answered."""
    pause: Above0 = 1.0
    """Seconds before the first repetition; doubled before each next, to a minute at most."""
    longest_wait: Above0 = 600.0
    """Seconds that a server may ask to wait (Retry-After); more of them end the evaluation."""


OF_THE_ASKING = ("key_env", "concurrency", "timeout", "retries", "pause", "longest_wait")
"""The settings on which no answer depends."""

BODY = ("model", "messages", "n")
"""The parameters of a request that ``extra_body`` and ``omit`` cannot be about."""


def load_endpoint(words: Sequence[str], **options: Any) -> EndpointConfig:
    """Return the settings ``endpoint.*`` of a command line; ``options`` that are None are none.

    Raises UserError for an unknown setting or a value out of its range, and as ``check`` does.
    """
    tree: dict[str, Any] = {}
    for word in words:
        tree = config.merge(tree, config.parse_override(word))
    given = tree.get("endpoint", {})
    if not isinstance(given, Mapping):
        raise UserError(f"endpoint={given!r:.40}: give its settings by name, endpoint.family=...")
    for name in ("url", "model"):
        if name in given:
            option = {"url": "--endpoint URL", "model": "--model NAME"}[name]
            raise UserError(f"endpoint.{name}: give it as {option}")
    given = config.merge(given, {k: v for k, v in options.items() if v is not None})
    endpoint = coercion.build(EndpointConfig, given, "endpoint.")
    folder = Path(endpoint.processor or "?")
    if folder.is_dir() and endpoint.processor not in paths.EMBEDDED:
        endpoint = replace(endpoint, processor=str(folder.resolve()))
    check(endpoint)
    return endpoint


def check(endpoint: EndpointConfig) -> None:
    """Raise UserError for settings that contradict each other."""
    if endpoint.url:
        read_address(endpoint.url)
    sources = [f"endpoint.{name}" for name in ("family", "processor", "space")
               if getattr(endpoint, name)]  # fmt: skip
    if len(sources) > 1:
        raise UserError(f"{' and '.join(sources)}: give one of them, as each says how the model "
                        "writes coordinates")  # fmt: skip
    if endpoint.space and endpoint.resize == "family":
        raise UserError("endpoint.space is for a model of no known family, whose pictures are sent "
                        "as they are; add endpoint.resize=server")  # fmt: skip
    for name in BODY:
        if name in endpoint.extra_body or name in endpoint.omit:
            raise UserError(f"endpoint.extra_body and endpoint.omit cannot be about {name!r}, "
                            "which is the evaluation's own")  # fmt: skip
    both = sorted({*endpoint.extra_body} & {*PARAMETERS} - {*endpoint.omit})
    if both:
        raise UserError(f"endpoint.extra_body.{both[0]}: it is a parameter of the benchmark; set "
                        f"{PARAMETERS[both[0]]}")  # fmt: skip


PARAMETERS = {
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "repetition_penalty": "sampling.repetition_penalty",
    "max_tokens": "sampling.max_completion_length",
    "seed": "seed",
}
"""The parameters of a request that come from the benchmark -> its setting."""


def as_written(endpoint: EndpointConfig) -> dict[str, Any]:
    """Return the settings on which answers depend, for settings.json, without any secret."""
    shown = read_address(endpoint.url).shown if endpoint.url else ""
    plain = coercion.to_plain(replace(endpoint, url=shown))
    return {name: value for name, value in plain.items() if name not in OF_THE_ASKING}
