"""The questions of an evaluation: the samples of a benchmark with their prompts and pictures."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from vrft import launched, registry
from vrft.errors import PictureError, UserError
from vrft.evaluation import fingerprint, settings_file
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.scoring import read_samples
from vrft.images import image_size, open_image
from vrft.task import Task
from vrft.types import Prompt, Sample

GREY = (127, 127, 127)

OnBadPicture = Literal["error", "skip"]


@dataclass(frozen=True)
class Questions:
    """The samples of a benchmark with their prompts, by sample id."""

    benchmark: Benchmark
    task: Task[Any]
    samples: Sequence[Sample[Any]]
    prompts: Mapping[str, Prompt]

    @classmethod
    def of(cls, benchmark: Benchmark, limit: int | None) -> Questions:
        """Read the first ``limit`` samples of a benchmark, and make their prompts."""
        task: Task[Any] = registry.build(benchmark.task)
        samples = read_samples(task, benchmark.split, limit)
        prompts = {sample.id: task.prompt(sample) for sample in samples}
        return cls(benchmark, task, samples, prompts)

    def fingerprint(self) -> dict[str, str]:
        """Return the fingerprint, in which prompts with a bad picture that is skipped have none.

        Raises UserError that names the sample of a picture that cannot be read.
        """
        try:
            return fingerprint.of_evaluation(self.task, self.samples, self.prompts)
        except PictureError:
            bad = bad_pictures(self.prompts, self.benchmark.on_bad_picture)
            hashed = {
                id: replace(p, images=()) if id in bad else p for id, p in self.prompts.items()
            }
            return fingerprint.of_evaluation(self.task, self.samples, hashed)


def bad_pictures(prompts: Mapping[str, Prompt], on_bad_picture: OnBadPicture) -> dict[str, str]:
    """Return sample id -> reason of the prompts with a picture that cannot be read.

    Raises UserError that names the first, where ``on_bad_picture`` is "error".
    """
    bad: dict[str, str] = {}
    for id, prompt in prompts.items():
        try:
            for image in prompt.images:
                open_image(image)
        except PictureError as error:
            if on_bad_picture == "error":
                raise UserError(
                    f"sample {id!r}: {error}; data.on_bad_picture=skip counts it as wrong"
                ) from error
            bad[id] = str(error)
    return bad


def say_left_out(left_out: Mapping[str, str], count: int) -> None:
    """Print a note on the samples, id -> reason, of ``count`` that are wrong for their pictures."""
    if not left_out or not launched.speaks():
        return
    id, reason = next(iter(left_out.items()))
    print(
        f"note: {len(left_out)} of {count} samples have a picture that cannot be read, and "
        f"count as wrong (data.on_bad_picture=skip); the first is {id!r}: {reason}",
        file=sys.stderr,
    )


def sample_seed(seed: int, sample_id: str) -> int:
    """Return the seed of one sample, in [0, 2**32) and the same in every process."""
    # Python's own hash() of a text differs from process to process.
    text = f"{seed}/{sample_id}".encode(errors=settings_file.ESCAPED)
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")


def blank_pictures(prompt: Prompt) -> Prompt:
    """Return the prompt with grey pictures of the same sizes: its score is that of guessing.

    Equal sizes keep the number of image tokens, so that only the contents are missing.
    """
    grey = [Image.new("RGB", image_size(image), GREY) for image in prompt.images]
    return replace(prompt, images=tuple(grey))
