"""The evaluation of a model behind a chat server with OpenAI's protocol."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vrft.config import coercion
from vrft.endpoints import batch_requests
from vrft.endpoints.chat_client import ChatClient
from vrft.endpoints.chat_requests import (
    ChatAnswer,
    ChatRequest,
    chat_request,
    check_prompt,
    read_answer,
)
from vrft.endpoints.endpoint_settings import KEY_NAME, EndpointConfig, as_written
from vrft.endpoints.parallel import in_parallel
from vrft.endpoints.sent_pictures import Sight, load_sight
from vrft.endpoints.server_address import read_address, read_key
from vrft.errors import PictureError, UserError
from vrft.evaluation import evaluate
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.questions import Questions, blank_pictures, sample_seed, say_left_out
from vrft.progress import with_progress
from vrft.task import Task
from vrft.types import Prediction, Prompt, Report, Sample, Space, View

TELLING = 8
"""Letters from which a key is no mere placeholder such as EMPTY, and looked for in texts."""


def run(
    benchmark: Benchmark,
    endpoint: EndpointConfig,
    out: Path,
    *,
    limit: int | None = None,
    blank_images: bool = False,
    fresh: bool = False,
) -> Report:
    """Evaluate the model of an endpoint, and write to ``out`` what ``evaluate.run`` writes there.

    An interrupted evaluation with the same settings is continued. Raises UserError for pictures or
    boxes of which the settings do not say how the model sees them, for what the server refuses, and
    as ``evaluate.run`` does.
    """
    key = read_key(endpoint.key_env, default=KEY_NAME)
    sight = load_sight(endpoint)
    questions = Questions.of(benchmark, limit)
    check(questions, endpoint, sight)
    settings: dict[str, Any] = {
        "vrft": version("vrft"),
        "benchmark": coercion.to_plain(benchmark),
        "endpoint": as_written(endpoint) | {"pictures": sight.limits},
        "limit": limit,
        "blank_images": blank_images,
        "notes": notes(questions, endpoint, sight),
    }
    if len(key) >= TELLING and key in json.dumps(settings):
        raise UserError(f"a setting holds the key of {endpoint.key_env}, and would be written "
                        "down; take it out")  # fmt: skip

    def load() -> evaluate.Answers:
        return Asking(questions, endpoint, sight, key, blank_images=blank_images).answers

    return evaluate.complete(questions, settings, load, out, fresh=fresh)


def write_prompts(
    benchmark: Benchmark,
    endpoint: EndpointConfig,
    out: Path,
    *,
    limit: int | None = None,
    blank_images: bool = False,
    max_bytes: int = 200 * batch_requests.MEGABYTE,
) -> list[Path]:
    """Write the requests that ``run`` sends as files for a batch service, and return their names.

    Parameters beyond OpenAI's are written for ``endpoint.server=vllm`` or ``sglang`` alone. Raises
    UserError as ``run`` and ``batch_requests.write_requests`` do.
    """
    sight = load_sight(endpoint)
    questions = Questions.of(benchmark, limit)
    check(questions, endpoint, sight)
    asking = Asking(questions, endpoint, sight, blank_images=blank_images)
    server = "openai" if endpoint.server == "auto" else endpoint.server
    made = (
        (id, request.body)
        for id in with_progress(list(questions.prompts), "requests")
        if (request := asking.checked_request(id, server)) is not None
    )
    files = batch_requests.write_requests(out, made, max_bytes)
    say_left_out(asking.left_out, len(questions.prompts))
    return files


def check(questions: Questions, endpoint: EndpointConfig, sight: Sight) -> None:
    """Raise UserError for prompts that no chat can ask, and for pictures seen nobody knows how.

    That is their size where they are resized here, and the space of coordinates where answers have
    some.
    """
    for id, prompt in questions.prompts.items():
        try:
            check_prompt(prompt, sight)
        except UserError as error:
            raise UserError(f"sample {id!r}: {error}") from error
    shown = with_pictures(questions)
    if shown and sight.resize and sight.family is None:
        raise UserError(
            "pictures are sent at the size that the model's family sees: give "
            "endpoint.family=qwen2_5_vl, or another name of config.json's model_type, or "
            "--processor FOLDER; or endpoint.resize=server to send them as they are"
        )
    writing = next((s for s in shown if writes_coordinates(questions.task, s)), None)
    if sight.space is None and writing is not None:
        raise UserError(
            f"the answer to {writing.id!r} has coordinates: give endpoint.family=NAME or "
            "endpoint.space=thousandths or pixels, in which the model writes them"
        )


def with_pictures(questions: Questions) -> list[Sample[Any]]:
    """Return the samples that are asked with pictures."""
    return [sample for sample in questions.samples if questions.prompts[sample.id].images]


def writes_coordinates(task: Task[Any], sample: Sample[Any]) -> bool:
    """Return whether the ideal answer depends on the space in which a model writes coordinates."""
    spaces: tuple[Space, ...] = ("thousandths", "pixels")
    count = max(len(sample.images), 1)
    try:
        texts = {task.reference(sample, (View(700, 700, space),) * count) for space in spaces}
    except NotImplementedError:  # a task that nobody trains needs no ideal answers
        return bool(task.boxes(sample))
    return len(texts) > 1


def notes(questions: Questions, endpoint: EndpointConfig, sight: Sight) -> list[str]:
    """Return remarks that belong beside the scores: where the server, not we, decides."""
    said = []
    if not sight.resize and with_pictures(questions):
        text = "the server resized the pictures (endpoint.resize=server), which may move the scores"
        if sight.limits:
            text += "; coordinates are read at the size that the family's rule gives"
        elif sight.space == "pixels":
            text += "; coordinates are read in pixels of the pictures sent"
        said.append(text)
    if endpoint.omit:
        said.append(f"{', '.join(endpoint.omit)}: the server's own (endpoint.omit)")
    return said


class Asking:
    """The asking of one endpoint, with what is told about it at the end."""

    def __init__(
        self,
        questions: Questions,
        endpoint: EndpointConfig,
        sight: Sight,
        key: str = "",
        *,
        blank_images: bool = False,
    ) -> None:
        self.questions, self.endpoint, self.sight = questions, endpoint, sight
        self.benchmark, self.key, self.blank_images = questions.benchmark, key, blank_images
        self.tried_again: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}
        self.textless: dict[str, str] = {}  # sample id -> the server's reason
        self.miscounted: dict[str, str] = {}

    def answers(
        self,
        prompts: Mapping[str, Prompt],
        *,
        done: Collection[tuple[str, int]] = (),
        note: Callable[[str], None] = lambda text: None,
    ) -> Iterator[Prediction]:
        """Yield the answers that are not ``done``, as they come, and print notes at the end.

        Raises UserError, with the sample, for a request that the server refuses or never answers.
        """
        repeats = range(self.benchmark.repeats)
        missing = [id for id in prompts if any((id, repeat) not in done for repeat in repeats)]
        opened = partial(self.opened, note)
        try:
            for group in in_parallel(missing, opened, min(self.endpoint.concurrency, len(missing))):
                yield from (p for p in group if (p.sample_id, p.repeat) not in done)
        finally:
            self.say_notes(len(prompts))

    @asynccontextmanager
    async def opened(self, note: Callable[[str], None]) -> AsyncIterator[Callable[[str], Any]]:
        """Give the work of asking for one sample, by its id, while connections are open."""
        endpoint = self.endpoint
        async with ChatClient(
            read_address(endpoint.url),
            self.key,
            endpoint.key_env,
            timeout=endpoint.timeout,
            retries=endpoint.retries,
            pause=endpoint.pause,
            longest_wait=endpoint.longest_wait,
            connections=endpoint.concurrency,
            note=note,
        ) as client:
            self.tried_again = client.tried_again
            server = endpoint.server
            yield partial(self.ask, client, await client.server() if server == "auto" else server)

    async def ask(self, client: ChatClient, server: str, id: str) -> list[Prediction]:
        """Return all answers to one sample; none to one whose picture is left out."""
        # In a thread: pictures take long, and the answers to others must be read meanwhile.
        request = await asyncio.to_thread(self.checked_request, id, server)
        if request is None:
            return []
        read = partial(read_answer, repeats=self.benchmark.repeats)
        answer = await client.completion(request.body, read, f"sample {id!r}")
        self.take_notes(id, request, answer)
        client.note("")
        # The server counts the tokens of all choices together.
        tokens = answer.completion_tokens if self.benchmark.repeats == 1 else 0
        return [
            Prediction(id, choice.text, request.views, repeat, tokens, choice.finished)
            for repeat, choice in enumerate(answer.choices)
        ]

    def checked_request(self, id: str, server: str) -> ChatRequest | None:
        """Return the request for all answers to one sample; None for one left out for its picture.

        Raises UserError, which names the sample, for one that cannot be asked.
        """
        try:
            return self.request(id, server)
        except PictureError as error:
            if self.benchmark.on_bad_picture == "error":
                raise UserError(
                    f"sample {id!r}: {error}; data.on_bad_picture=skip counts it as wrong"
                ) from error
            self.left_out[id] = str(error)
            return None
        except UserError as error:
            raise UserError(f"sample {id!r}: {error}") from error

    def request(self, id: str, server: str) -> ChatRequest:
        """Return the request for all answers to one sample, with the seed of its own evaluation."""
        prompt = self.questions.prompts[id]
        return chat_request(
            blank_pictures(prompt) if self.blank_images else prompt,
            self.endpoint,
            self.sight,
            self.benchmark.sampling,
            seed=sample_seed(self.benchmark.seed, id),
            repeats=self.benchmark.repeats,
            server=server,
        )

    def take_notes(self, id: str, request: ChatRequest, answer: ChatAnswer) -> None:
        """Keep what has to be told of an answer; UserError for one that holds the key."""
        for choice in answer.choices:
            if len(self.key) >= TELLING and self.key in choice.text:
                raise UserError(f"sample {id!r}: the answer holds the key of "
                                f"{self.endpoint.key_env}; it is not kept")  # fmt: skip
            if not choice.text:
                self.textless[id] = choice.reason
        if None is not request.tokens != answer.prompt_tokens and answer.prompt_tokens:
            self.miscounted[id] = f"{answer.prompt_tokens}, not {request.tokens}"

    def say_notes(self, count: int) -> None:
        """Print on standard error what was tried again, and which answers are strange."""
        say_left_out(self.left_out, count)
        told = []
        if self.tried_again:
            kinds = ", ".join(f"{n} x {kind}" for kind, n in self.tried_again.most_common())
            told.append(f"requests were tried again: {kinds}")
        if self.textless:
            id, reason = next(iter(self.textless.items()))
            told.append(f"{len(self.textless)} samples have an answer without text, such as {id!r} "
                        f"(finish_reason {reason})")  # fmt: skip
        if self.miscounted:
            id, counts = next(iter(self.miscounted.items()))
            told.append(f"the server reads {len(self.miscounted)} prompts in another number of "
                        f"tokens than the processor, such as {id!r} ({counts}): its chat template "
                        "or its limits of picture sizes differ")  # fmt: skip
        for text in told:
            print("note:", text, file=sys.stderr)
