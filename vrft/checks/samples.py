"""The pictures, prompts and questions of a split, as ``vrft check`` looks at them."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image

from vrft import images
from vrft.boxes import THOUSANDTHS
from vrft.checks.findings import Finding, Findings, Spread, name_samples
from vrft.errors import UserError
from vrft.progress import progress
from vrft.task import Task, check_types
from vrft.types import A, Prompt, Sample

T = TypeVar("T")

OPENERS = min(4, os.cpu_count() or 1)
"""Pictures that are opened at a time."""
STRIP = 512
"""Rows of a picture that are hashed at a time."""

PLACEHOLDER = re.compile(
    r"(?!<(?-i:image)>)<(?:image|img|video)(?:[ _-]?[0-9]{1,3})?\s?/?>", re.IGNORECASE
)
"""Where other tools put a picture or a video; to Qwen it is a word like any other."""


class PromptCounter(Protocol):
    """A model's reading of prompts, which takes its tokenizer and none of its weights."""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Return the smallest and largest area of a picture; None for a model without vision."""

    @property
    def factor(self) -> int:
        """Return the pixels along one side of an image token."""

    def read(self, prompt: Prompt, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return (tokens, placeholders of pictures) of a prompt with pictures of those sizes."""


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """The size in pixels of a picture that opened, and a hash of its pixels."""

    size: tuple[int, int]
    digest: str
    plain: bool = False
    """Whether all pixels have one colour."""
    several: bool = False
    """Whether its file has more frames or pages than the first, which is the one that is seen."""


@dataclass(frozen=True, slots=True)
class OpenedSample(Generic[A]):
    """A sample whose pictures all opened, the sizes at which the model sees them, and its tokens
    for all of them."""

    sample: Sample[A]
    pictures: tuple[OpenedPicture, ...]
    sizes: tuple[tuple[int, int], ...]
    image_tokens: int = 0


def with_progress(items: Sequence[T], title: str) -> Iterator[T]:
    """Yield the items one by one, with progress on standard error."""
    with progress(len(items), title) as shown:
        for item in items:
            yield item
            shown.advance()


# --- pictures


def open_pictures(
    samples: Sequence[Sample[A]], split: str, *, skip: bool = False
) -> tuple[dict[str, OpenedPicture], Findings]:
    """Open every picture once; return those that opened, by key, and a problem for each other.

    Where a run may ``skip`` their samples, pictures that do not open are noted, unless none opens.
    Noted are also pictures of one colour, animations and files of several pages, and samples
    without any picture beside samples with some.
    """
    sources = {picture_key(source): source for sample in samples for source in sample.images}
    results = open_all(sources, f"{split}, pictures")
    pictures = {key: result for key, result in results.items() if isinstance(result, OpenedPicture)}
    damaged = {key: result for key, result in results.items() if isinstance(result, str)}
    users = defaultdict(list)
    for sample in samples:
        for key in damaged.keys() & set(map(picture_key, sample.images)):
            users[key].append(sample.id)
    problems = tuple(Finding(text, tuple(users[key])) for key, text in damaged.items())
    left_out = problems if skip and pictures else ()
    setting = (
        "; data.on_bad_picture=skip leaves them out"
        if not left_out
        else ", and are left out by data.on_bad_picture=skip"
    )
    notes = (
        *left_out,
        *name_samples(
            f"have a picture that cannot be read{setting}",
            [id for finding in problems for id in finding.ids],
        ),
        *notes_on(samples, pictures),
    )
    return pictures, Findings(() if left_out else problems, notes)


def open_all(sources: Mapping[str, Any], title: str) -> dict[str, OpenedPicture | str]:
    """Open pictures by their keys, several at a time; see ``open_picture``."""
    # Each opening silences a warning for its time, and Python keeps such filters per process:
    # threads would undo them for one another. Silenced here, the warning stays silent for all.
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        ThreadPoolExecutor(OPENERS) as pool,
    ):
        keys = with_progress([*sources], title)
        return dict(zip(keys, pool.map(open_picture, sources.values()), strict=True))


def notes_on(
    samples: Sequence[Sample[A]], pictures: Mapping[str, OpenedPicture]
) -> Iterator[Finding]:
    """Yield notes on samples by what their pictures show, and on those without any."""
    plain = {key for key, picture in pictures.items() if picture.plain}
    frames = {key for key, picture in pictures.items() if picture.several}
    blank, textual, moving = [], [], []
    for sample in samples:
        shown = set(map(picture_key, sample.images))
        if shown & plain:
            blank.append(sample.id)
        if shown & frames:
            moving.append(sample.id)
        if not shown:
            textual.append(sample.id)
    yield from name_samples(
        "show an animation or a file of several pages, of which the first is read", moving
    )
    yield from name_samples("show a picture of a single colour", blank)
    if len(textual) < len(samples):
        yield from name_samples("have no picture, where others have one", textual)


def open_picture(source: Any) -> OpenedPicture | str:
    """Open a picture and hash its pixels; return in words why it cannot be seen, if so."""
    try:
        image = images.open_image(source)
        several = images.has_several_frames(source)
    except UserError as error:
        return str(error)
    width, height = image.size
    # With the size: the same pixels in rows of another length are another picture.
    digest = hashlib.sha256(f"{image.size}".encode())
    # In strips, as tobytes() would copy up to 300 MB of pixels for each thread.
    for top in range(0, height, STRIP):
        digest.update(image.crop((0, top, width, min(top + STRIP, height))).tobytes())
    plain = image.getcolors(1) is not None
    return OpenedPicture(image.size, digest.hexdigest(), plain, several)


def picture_key(source: Any) -> str:
    """Return a key that is equal for the same file, and for the same picture in memory."""
    # Samples hold their pictures all the while, so that no id() is given to a second one.
    return str(source) if isinstance(source, Path | str) else f"picture in memory {id(source)}"


def opened_samples(
    samples: Sequence[Sample[A]],
    pictures: Mapping[str, OpenedPicture],
    pixels: tuple[int, int],
    factor: int = images.FACTOR,
) -> list[OpenedSample[A]]:
    """Return the samples without a damaged picture.

    ``pixels`` are the smallest and largest area at which the model sees a picture, and ``factor``
    is the side of an image token in pixels.
    """
    opened = []
    for sample in samples:
        keys = [picture_key(source) for source in sample.images]
        if all(key in pictures for key in keys):
            shown = tuple(pictures[key] for key in keys)
            sizes = tuple(images.resized_size(*picture.size, *pixels, factor) for picture in shown)
            tokens = sum(images.image_tokens(*size, factor) for size in sizes)
            opened.append(OpenedSample(sample, shown, sizes, tokens))
    return opened


def picture_spreads(
    pictures: Iterable[OpenedPicture], samples: Iterable[OpenedSample[A]]
) -> dict[str, Spread]:
    """Return the spreads of the pictures' sizes in pixels and of the samples' image tokens."""
    sizes = [picture.size for picture in pictures]
    tokens = [sample.image_tokens for sample in samples]
    if not sizes or not tokens:
        return {}
    return {
        "picture width": Spread.of([width for width, _ in sizes]),
        "picture height": Spread.of([height for _, height in sizes]),
        "image tokens": Spread.of(tokens),
    }


# --- prompts and questions


def check_prompts(
    task: Task[A], samples: Iterable[OpenedSample[A]], counter: PromptCounter, longest: int | None
) -> tuple[Spread, Findings]:
    """Return the spread of the prompts' tokens, and the faults of their length and placeholders.

    There must be at least one sample, and none of which ``check_questions`` reports a problem.
    """
    lengths, too_long, misplaced = [], [], []
    for opened in samples:
        sample = opened.sample
        tokens, placeholders = counter.read(task.prompt(sample), opened.sizes)
        lengths.append(tokens)
        if longest is not None and tokens > longest:
            too_long.append(sample.id)
        if placeholders != len(sample.images):
            misplaced.append(sample.id)
    limit = f"have a prompt over sampling.max_prompt_length={longest}"
    places_differ = "have a prompt with more or fewer places for pictures than pictures"
    problems = (*name_samples(limit, too_long), *name_samples(places_differ, misplaced))
    return Spread.of(lengths), Findings(problems)


def check_questions(task: Task[A], samples: Sequence[Sample[A]]) -> Findings:
    """Report prompts and answers that training refuses; note other tools' tags of pictures."""
    # Imported here, as the package `models` imports torch.
    from vrft.models.conversation import check_answer, check_prompt

    refused: dict[str, str] = {}
    places = []
    for sample in samples:
        try:
            prompt = task.prompt(sample)
            answer = task.reference(sample, (THOUSANDTHS,) * len(sample.images))
        except UserError as error:
            refused[sample.id] = str(error)
            continue
        check_types(prompt, answer)
        if any(map(PLACEHOLDER.search, (prompt.text, *(turn.text for turn in prompt.turns)))):
            places.append(sample.id)
        try:
            check_prompt(prompt)
            check_answer(answer)
        except UserError as error:
            refused[sample.id] = str(error)
    first = next(iter(refused.values()), "")
    silent = [sample.id for sample in samples if not sample.question.strip()]
    return Findings(
        name_samples(f"have a prompt or answer that training refuses ({first})", refused),
        (
            *name_samples("have a tag in their question that the model reads as a word", places),
            *name_samples("have an empty question", silent),
        ),
    )
