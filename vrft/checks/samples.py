"""The pictures, prompts and boxes of a split, as ``vrft check`` looks at them."""

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
from typing import Generic, Protocol, TypeVar

from PIL import Image

from vrft import images
from vrft.checks.findings import Finding, Findings, Spread, about
from vrft.errors import UserError
from vrft.masks import Polygon
from vrft.progress import progress
from vrft.task import Task
from vrft.types import A, Prompt, Sample

T = TypeVar("T")

OPENERS = min(4, os.cpu_count() or 1)
"""Pictures that are opened at a time."""
STRIP = 512
"""Rows of a picture that are hashed at a time."""

SPECIAL = re.compile(r"<\|[a-z_]{6,}\|>")
"""What Qwen's tokenizers make a special token of, wherever it stands; unlike <|b|> in |a|<|b|>c."""
PLAIN = re.compile(r"<(?:image|img|video)>", re.IGNORECASE)
"""Where other tools put a picture; to Qwen it is a word like any other."""

INSIDE = 0.5
"""Shapes of which less than this share lies inside the picture were drawn for another one."""
NEARLY = 0.99
"""Shapes of which less than this share lies inside lose more by the cut than rounding explains."""


class PromptCounter(Protocol):
    """How a model reads prompts."""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """The smallest and largest area of a picture; None for a model that reads none."""

    def read(self, prompt: Prompt, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """(tokens, placeholders of pictures) of a prompt with pictures of those sizes."""


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """The size in pixels of a picture that opened, and a hash of what it shows."""

    size: tuple[int, int]
    digest: str


@dataclass(frozen=True, slots=True)
class OpenedSample(Generic[A]):
    """A sample whose pictures all opened, and the sizes at which the model sees them."""

    sample: Sample[A]
    pictures: tuple[OpenedPicture, ...]
    sizes: tuple[tuple[int, int], ...]


def tracked(items: Sequence[T], what: str) -> Iterator[T]:
    """The items one by one, with progress on standard error."""
    with progress(len(items), what) as shown:
        for item in items:
            yield item
            shown.advance()


# --- pictures


def open_pictures(
    samples: Sequence[Sample[A]], split: str
) -> tuple[dict[str, OpenedPicture], Findings]:
    """Every picture opened once, by its key; and a problem for each that does not open."""
    sources = {key(source): source for sample in samples for source in sample.images}
    # Each opening silences a warning for its time; threads would undo that for one another.
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        ThreadPoolExecutor(OPENERS) as pool,
    ):
        names = tracked([*sources], f"{split}, pictures")
        found = dict(zip(names, pool.map(open_picture, sources.values()), strict=True))
    pictures = {name: one for name, one in found.items() if isinstance(one, OpenedPicture)}
    damaged = {name: error for name, error in found.items() if isinstance(error, str)}
    users = defaultdict(list)
    for sample in samples:
        for name in damaged.keys() & set(map(key, sample.images)):
            users[name].append(sample.id)
    problems = (Finding(text, tuple(users[name])) for name, text in damaged.items())
    return pictures, Findings(tuple(problems))


def open_picture(source: Path | Image.Image) -> OpenedPicture | str:
    """What a picture shows, hashed in strips to spare memory; or why it cannot be seen."""
    try:
        image = images.open_image(source)
        images.resized_size(*image.size, 1, 1)
    except UserError as error:
        return str(error)
    width, height = image.size
    digest = hashlib.sha256(f"{image.size}".encode())
    for top in range(0, height, STRIP):
        digest.update(image.crop((0, top, width, min(top + STRIP, height))).tobytes())
    return OpenedPicture(image.size, digest.hexdigest())


def key(source: Path | Image.Image) -> str:
    """The same for the same file, or the same picture in memory."""
    return str(source) if isinstance(source, Path) else f"picture in memory {id(source)}"


def opened(
    samples: Sequence[Sample[A]], pictures: Mapping[str, OpenedPicture], pixels: tuple[int, int]
) -> list[OpenedSample[A]]:
    """The samples without a damaged picture, whose area the model limits to ``pixels``."""
    out = []
    for sample in samples:
        if all(key(source) in pictures for source in sample.images):
            shown = tuple(pictures[key(source)] for source in sample.images)
            sizes = tuple(images.resized_size(*picture.size, *pixels) for picture in shown)
            out.append(OpenedSample(sample, shown, sizes))
    return out


def picture_spreads(
    pictures: Iterable[OpenedPicture], samples: Iterable[OpenedSample[A]]
) -> dict[str, Spread]:
    """Sizes of the pictures in pixels, and image tokens of each sample."""
    sizes = [picture.size for picture in pictures]
    tokens = [sum(images.image_tokens(*size) for size in one.sizes) for one in samples]
    if not sizes or not tokens:
        return {}
    return {
        "picture width": Spread.of([width for width, _ in sizes]),
        "picture height": Spread.of([height for _, height in sizes]),
        "image tokens": Spread.of(tokens),
    }


# --- prompts


def read_prompts(
    task: Task[A], samples: Iterable[OpenedSample[A]], reader: PromptCounter, longest: int | None
) -> tuple[Spread, Findings]:
    """Tokens of the prompts, of at least one; and what is wrong with their length and places."""
    lengths, too_long, misplaced = [], [], []
    for one in samples:
        tokens, places = reader.read(task.prompt(one.sample), one.sizes)
        lengths.append(tokens)
        if longest is not None and tokens > longest:
            too_long.append(one.sample.id)
        if places != len(one.sample.images):
            misplaced.append(one.sample.id)
    limit = f"have a prompt over sampling.max_prompt_length={longest}"
    places_differ = "have a prompt with more or fewer places for pictures than pictures"
    problems = (*about(limit, too_long), *about(places_differ, misplaced))
    return Spread.of(lengths), Findings(problems)


def marks_in_text(samples: Sequence[Sample[A]]) -> Findings:
    """Questions that hold special tokens, or what other tools replace by a picture."""
    special = [sample.id for sample in samples if SPECIAL.search(sample.question)]
    plain = [sample.id for sample in samples if PLAIN.search(sample.question)]
    return Findings(
        about("have a special token such as <|image_pad|> in their question", special),
        about("have <image> in their question, which the model reads as a word", plain),
    )


# --- boxes


def check_shapes(task: Task[A], samples: Iterable[OpenedSample[A]]) -> Findings:
    """True boxes without a picture, and shapes that leave theirs."""
    nowhere: list[str] = []
    elsewhere: list[str] = []
    cut: list[str] = []
    for one in samples:
        if task.boxes(one.sample) and not one.pictures:
            nowhere.append(one.sample.id)
        region = task.region(one.sample)
        if region is None or not one.pictures:
            continue
        share = share_inside(region.wanted, one.pictures[0].size)
        if share < NEARLY:
            (elsewhere if share < INSIDE else cut).append(one.sample.id)
    problems = [
        *about("have a true box and no picture", nowhere),
        *about("have shapes that lie mostly outside their picture", elsewhere),
    ]
    notes = about("have shapes that are cut at the edge of their picture", cut)
    return Findings(tuple(problems), notes)


def share_inside(polygons: Sequence[Polygon], size: tuple[int, int]) -> float:
    """The share, of the box around all polygons, that lies inside a picture of that size."""
    share = 1.0
    for axis, side in enumerate(size):
        ends = [point[axis] for polygon in polygons for point in polygon]
        low, high = min(ends), max(ends)
        inside = min(high, side) - max(low, 0)
        share *= max(inside, 0) / (high - low) if high > low else float(0 <= low <= side)
    return share
