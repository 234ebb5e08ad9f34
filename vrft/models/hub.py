"""Models of the hub: their folder in its cache, and why one of them has no weights here."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from vrft.errors import UserError
from vrft.models import folders

UNREACHED = (HTTPError, LocalEntryNotFoundError)
"""Errors of the hub's client without an answer; transformers names them as the cause of its own."""


def cached(name: str) -> Path | None:
    """Return the folder of a hub id in the cache, None where it has none; the hub is not asked."""
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # not in the cache; a name that no model can have
        return None


def listed(name: str) -> set[str] | None:
    """Return the files that the hub lists of a model; None where it cannot be asked."""
    try:
        return set(HfApi().list_repo_files(name))
    except (HTTPError, OSError, ValueError):  # no network, offline mode, no such name any more
        return None


def no_weights(name: str, *, ask: bool = True) -> UserError:
    """Return the error for a hub id whose weights in safetensors could not be had.

    The cache may hold all but the weights, as ``vrft check`` and ``vrft plan`` need no more. Only
    the hub knows whether there are any: with ``ask`` it is asked, where it may be.
    """
    answer = listed(name) if ask else None
    folder = cached(name)
    here = {path.name for path in folder.iterdir()} if folder else set()
    files = here if answer is None else answer
    pickles = sorted(file for file in files if any(fnmatch(file, p) for p in folders.PICKLES))
    has_safetensors = any(file in files for file in (folders.WEIGHTS[0], folders.INDEX))
    if pickles and not has_safetensors:
        return folders.no_safetensors(name, pickles[0])
    if answer is not None:
        lacks = "not all parts" if has_safetensors else "no weights"
        return UserError(f"model {name!r}: the hub has {lacks} of it in safetensors; name another "
                         "copy of the model")  # fmt: skip
    return UserError(f"model {name!r}: its weights are not on this machine, or not all of them; "
                     f"fetch them with `hf download {name}`")  # fmt: skip
