"""Models behind a server: the options and settings of ``vrft eval --endpoint``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.endpoints.endpoint_settings import EndpointConfig
    from vrft.evaluation.benchmark import Benchmark
    from vrft.types import Report


def is_setting(word: str) -> bool:
    """Return whether a word of the command line is a setting of the endpoint."""
    return re.match(r"endpoint\s*[.=]", word.lstrip()) is not None


def check_options(args: argparse.Namespace) -> None:
    """Raise UserError for options of ``vrft eval`` that say nothing beside ``--endpoint``.

    Raises it as well for options of an endpoint without one.
    """
    asks = args.endpoint is not None
    if asks and args.model is None:
        raise UserError("--endpoint: give --model NAME, by which the server knows the model")
    if asks and args.batch_size is not None:
        raise UserError("--batch-size is for a model that is loaded here; an endpoint is asked "
                        "--concurrency N requests at a time")  # fmt: skip
    if asks and any(word.startswith("model.") for word in args.settings):
        raise UserError("model.* is for a model that is loaded here; an endpoint's pictures are "
                        "limited by endpoint.max_pixels, its model by its own server")  # fmt: skip
    if not asks and args.concurrency is not None:
        raise UserError("--concurrency is for --endpoint URL; leave it out")
    of_pictures = args.processor is not None or any(map(is_setting, args.settings))
    if not asks and of_pictures and args.predictions is None:
        raise UserError("--processor and endpoint.* are for --endpoint URL, or for the answers of "
                        "a batch service; leave them out")  # fmt: skip
    if of_pictures and args.boxes is not None:
        raise UserError("--boxes and the settings of an endpoint both say how boxes are written; "
                        "give one of them")  # fmt: skip


def settings_of(args: argparse.Namespace, words: Sequence[str]) -> EndpointConfig | None:
    """Return the endpoint of the options and of the settings ``words``; None if none is named."""
    if args.endpoint is None and args.processor is None and not words:
        return None
    from vrft.endpoints.endpoint_settings import load_endpoint

    return load_endpoint(
        words,
        url=args.endpoint,
        model=args.model,
        processor=args.processor,
        concurrency=args.concurrency,
    )


def evaluate(args: argparse.Namespace, benchmark: Benchmark, asked: EndpointConfig) -> Report:
    """Evaluate the model of an endpoint, in ``args.out``."""
    from vrft.evaluation import endpoint

    return endpoint.run(
        benchmark,
        asked,
        args.out,
        limit=args.limit,
        blank_images=args.blank_images,
        fresh=args.fresh,
    )


def name_of(args: argparse.Namespace) -> str:
    """Return the model and its server as a part of a folder's name, without any credentials."""
    server = urlsplit(args.endpoint)
    return f"{args.model.replace('/', '-')}-at-{server.hostname or 'nowhere'}"
