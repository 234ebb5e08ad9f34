"""Answers that were made elsewhere: files of another tool or of a batch service, and their views.

Modules that import transformers are imported inside functions: scores of texts need none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft.errors import UserError
from vrft.evaluation import predictions
from vrft.types import Prediction, Prompt

if TYPE_CHECKING:
    from vrft.endpoints.endpoint_settings import EndpointConfig


def read(path: Path, repeats: int) -> tuple[list[Prediction], list[str]]:
    """Read the answers in a file, of whichever form, and remarks on those that are missing.

    A batch service's file has ``repeats`` answers in each line. Raises UserError, with the number
    of the line, for one that cannot be read.
    """
    if not is_batch(path):
        return predictions.read_predictions(path), []
    from vrft.endpoints import batch_requests

    answers = batch_requests.read_batch(path, repeats)
    return list(answers.predictions), [answers.note] if answers.note else []


def is_batch(path: Path) -> bool:
    """Return whether the first line of a file is the answer of a batch service."""
    try:
        with path.open("rb") as file:
            row = json.loads(next((line for line in file if line.strip()), b""))
    except (OSError, ValueError, RecursionError):
        return False  # whoever reads it as predictions says what is wrong
    return isinstance(row, dict) and "custom_id" in row


def with_views(
    answers: Sequence[Prediction], prompts: Mapping[str, Prompt], endpoint: EndpointConfig
) -> tuple[list[Prediction], dict[str, Any]]:
    """Return answers with the views of their pictures, and the settings these come from.

    The settings of the endpoint say how the model saw pictures. Raises UserError where they do not,
    and for answers that have views.
    """
    from vrft.endpoints.endpoint_settings import as_written
    from vrft.endpoints.sent_pictures import load_sight

    sight = load_sight(endpoint)
    pictured = any(prompt.images for prompt in prompts.values())
    if pictured and sight.space is None:
        raise UserError(
            "endpoint settings beside --predictions say how the model saw pictures: give "
            "endpoint.family=NAME, --processor FOLDER, or endpoint.space=thousandths or pixels "
            "with endpoint.resize=server"
        )
    seen = []
    for answer in answers:
        if answer.views:
            raise UserError(
                f"the answer to {answer.sample_id!r} has views already; leave the endpoint's "
                "settings out"
            )
        # An answer to no sample is refused where it is scored.
        images = prompts[answer.sample_id].images if answer.sample_id in prompts else ()
        seen.append(replace(answer, views=tuple(map(sight.view, images))))
    return seen, as_written(endpoint) | {"pictures": sight.limits}
