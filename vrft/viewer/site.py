"""The site: every document and picture that the app may ask for, by name, made on demand.

A document is JSON in a call, ``vrft.receive("e0/table", ...)``: a page opened from disk may load
scripts of its folder, and may not fetch its files. One that cannot be read says so in another call,
``vrft.refuse("r0/metrics", "why")``, and the rest of the page is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from vrft.errors import UserError
from vrft.evaluation.report import without_nan

APP = Path(__file__).parent / "app"
"""The static files of the app: HTML, style and plain scripts."""

CATALOGUE = "catalogue"
"""The document that the app asks for first: the title, and an entry for each view."""

PICTURES, THUMBNAILS = "pictures", "thumbnails"
"""Where pictures lie, such as pictures/e0/NAME, and their thumbnails, thumbnails/e0/NAME.jpg."""

RECEIVE, REFUSE = "vrft.receive", "vrft.refuse"
"""The functions of the app that take a document, or the reason why there is none."""


class Tab(Protocol):
    """One tab of the app: the answers of an evaluation, two of them compared, or a run."""

    @property
    def entry(self) -> Mapping[str, Any]:
        """Return the catalogue's entry: at least ``kind`` and ``title``."""

    def documents(self) -> Iterable[str]:
        """Return the names of all documents."""

    def document(self, name: str) -> Any:
        """Return a document as JSON takes it; KeyError for a name that is none."""

    def pictures(self) -> Iterable[str]:
        """Return the names of all pictures, each once."""

    def picture(self, name: str) -> Path | Image.Image:
        """Return the source of a picture; KeyError for a name that is none."""


@dataclass(frozen=True)
class Site:
    """The views by their short names, such as "e0" and "r1", in the order of their tabs."""

    title: str
    views: Mapping[str, Tab]
    live: bool = False
    """Whether the app asks for a run's metrics again and again."""
    start: str = ""
    """The view that is opened first; "" for the first tab."""

    def catalogue(self) -> dict[str, Any]:
        """Return the document that names the views."""
        entries = [{"id": id, **view.entry} for id, view in self.views.items()]
        return {"title": self.title, "live": self.live, "start": self.start, "views": entries}

    def content(self, name: str) -> Any:
        """Return a document as JSON takes it; KeyError for a name that is none."""
        if name == CATALOGUE:
            return self.catalogue()
        id, _, inner = name.partition("/")
        return self.views[id].document(inner)

    def document(self, name: str) -> str:
        """Return the script of a document, "catalogue" or "e0/table"; KeyError for any other.

        A document that cannot be read is refused by its script, in the words of the error.
        """
        try:
            return script(name, self.content(name))
        except UserError as error:
            return script(name, str(error), REFUSE)

    def picture(self, name: str) -> Path | Image.Image:
        """Return the source of the picture "e0/NAME"; KeyError for any other."""
        id, _, inner = name.partition("/")
        return self.views[id].picture(inner)

    def documents(self) -> list[str]:
        """Return the names of all documents."""
        inner = [f"{id}/{name}" for id, view in self.views.items() for name in view.documents()]
        return [CATALOGUE, *inner]

    def pictures(self) -> list[str]:
        """Return the names of all pictures."""
        return [f"{id}/{name}" for id, view in self.views.items() for name in view.pictures()]


def script(name: str, content: Any, call: str = RECEIVE) -> str:
    """Return the call that hands a document to the app, in ASCII.

    Half a surrogate pair and every letter that could end a script are escapes of JSON.
    """
    marks = (",", ":")
    try:
        text = json.dumps(content, allow_nan=False, separators=marks)
    except ValueError:  # few documents have a NaN, and looking for one takes longer than writing
        text = json.dumps(without_nan(content), separators=marks)
    return f"{call}({json.dumps(name)},{text});\n".replace("<", "\\u003c")


def check_views(views: Mapping[str, Tab]) -> None:
    """Raise UserError where there is nothing to look at, or no entry can be made of a view."""
    if not views:
        raise UserError("nothing to view; name a run, an evaluation or a predictions.jsonl")
    for view in views.values():
        dict(view.entry)
