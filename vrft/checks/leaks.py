"""Samples that repeat each other: ids, questions and pictures, within a split and between two."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vrft.checks.findings import Findings, name_samples
from vrft.checks.samples import OpenedSample
from vrft.types import A

MOSTLY = 0.5
"""Questions tell samples apart where more than this fraction of them occurs once."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The question and the pictures of a sample, as hashes by which samples are compared."""

    id: str
    text: str
    pictures: tuple[str, ...] = ()

    @classmethod
    def of(cls, opened: OpenedSample[A]) -> Fingerprint:
        """Return the fingerprint of a sample whose pictures are opened."""
        sample = opened.sample
        # By what pictures show: data sets copy a picture under another name.
        digests = tuple(picture.digest for picture in opened.pictures)
        return cls(sample.id, hash_text(sample.question), digests)


def hash_text(text: str) -> str:
    """Return a hash that ignores spaces, capitals and the width of letters."""
    plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    # Broken JSON may hold half a surrogate pair, which strict UTF-8 refuses.
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def find_shared_ids(ids: Sequence[str]) -> Findings:
    """Report the ids that several samples of a split have."""
    counts = Counter(ids)
    several = [id for id, n in counts.items() if n > 1]
    return Findings(name_samples("share their id with another", several))


def find_repeated(split: Sequence[Fingerprint]) -> Findings:
    """Note the samples that ask the same of the same pictures as one before them in the split."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    again = []
    for sample in split:
        content = (sample.text, sample.pictures)
        if content in seen:
            again.append(sample.id)
        seen.add(content)
    note = "ask the same of the same pictures as one before them"
    return Findings(notes=name_samples(note, again))


def find_leaks(
    train: Sequence[Fingerprint], later: Sequence[Fingerprint], names: tuple[str, str]
) -> Findings:
    """Report the samples of a later split that training shows; ``names`` are those of the splits.

    Samples that share a picture, or have none and share their question, are a problem. The same
    question about other pictures is a note.
    """
    first, second = names
    pictures = {digest for sample in train for digest in sample.pictures}
    counts = Counter(sample.text for sample in train)
    # "How many items are there?" may be asked of every picture and then gives nothing away: equal
    # questions are noted only where most questions of the first split are asked once.
    distinct = sum(1 for n in counts.values() if n == 1) > MOSTLY * len(train)
    same_picture: list[str] = []
    same_question: list[str] = []
    other_picture: list[str] = []
    for sample in later:
        if pictures.intersection(sample.pictures):
            same_picture.append(sample.id)
        elif sample.text in counts:
            (other_picture if sample.pictures else same_question).append(sample.id)
    problems = [
        *name_samples(f"of {second} show pictures of {first}", same_picture),
        *name_samples(f"of {second} ask what {first} asks", same_question),
    ]
    note = f"of {second} ask what {first} asks, of other pictures"
    return Findings(tuple(problems), name_samples(note, other_picture if distinct else []))
