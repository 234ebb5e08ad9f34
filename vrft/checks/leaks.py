"""What samples have in common: ids, questions and pictures, in one split and in two."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vrft.checks.findings import Findings, about

MOSTLY = 0.5
"""Questions say which sample they belong to where more than this share of them occurs once."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a sample asks, as hashes: ``text`` of its question, ``pictures`` of what they show."""

    id: str
    text: str
    pictures: tuple[str, ...] = ()


def text_hash(text: str) -> str:
    """The same for texts that differ only in spaces, capitals or width of their letters."""
    plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def shared_ids(ids: Sequence[str]) -> Findings:
    """The ids that several samples of a split have."""
    counts = Counter(ids)
    several = [id for id, n in counts.items() if n > 1]
    return Findings(about("share their id with another", several))


def repeated(split: Sequence[Fingerprint]) -> Findings:
    """The samples that ask the same about the same pictures as one before them in the split."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    again = []
    for found in split:
        content = (found.text, found.pictures)
        if content in seen:
            again.append(found.id)
        seen.add(content)
    return Findings(notes=about("ask the same of the same pictures as one before them", again))


def leaked(
    train: Sequence[Fingerprint], later: Sequence[Fingerprint], names: tuple[str, str]
) -> Findings:
    """The samples of a later split that training will have shown.

    Those that share a picture, or have none and share their question, are a problem. The same
    question about other pictures is a note, and only where questions tell samples apart: "How
    many items are there?" may be asked of every picture. ``names`` are those of the two splits.
    """
    first, second = names
    pictures = {picture for found in train for picture in found.pictures}
    counts = Counter(found.text for found in train)
    unlike = sum(1 for n in counts.values() if n == 1) > MOSTLY * len(train)
    shown: list[str] = []
    asked: list[str] = []
    alike: list[str] = []
    for found in later:
        if pictures.intersection(found.pictures):
            shown.append(found.id)
        elif found.text in counts:
            (alike if found.pictures else asked).append(found.id)
    problems = [
        *about(f"of {second} show pictures of {first}", shown),
        *about(f"of {second} ask what {first} asks", asked),
    ]
    notes = about(f"of {second} ask what {first} asks, of other pictures", alike if unlike else [])
    return Findings(tuple(problems), notes)
