"""Data sets of the hub, and folders in its form, whose README lists configurations."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from vrft.errors import UserError
from vrft.records import class_names

# datasets is imported inside functions: it takes seconds, and few commands need it.

LONGEST_HEAD = 2**20
"""Bytes at the top of a README in which the hub's settings are looked for."""

PATIENCE = 5.0
"""Seconds in which the hub must answer a call."""

Row = tuple[Mapping[str, Any], str, tuple[Path, ...]]
"""The values of a row, where they stand, and the folder of their file if there is one."""


def rows(name: str, split: str, limit: int | None, config: str | None = None) -> Iterator[Row]:
    """Yield the rows of a data set of the hub, or of a folder in its form, pictures as bytes.

    The hub's are streamed under a limit, a folder's always.
    """
    import datasets

    streamed = limit is not None or os.path.isdir(name)
    where = f"{name} {split}" if config is None else f"{name} {config} {split}"
    try:
        check_reachable(name)
        # Without a limit all files are fetched once, to be read from the hub's own cache later.
        fetched = datasets.load_dataset(name, config, split=split, streaming=streamed)
        stream = fetched if streamed else fetched.to_iterable_dataset()
        # decode(False): a damaged picture would end the iteration, and decoding all is slow.
        features = fetched.features
        labelled = class_names.with_classes({} if features is None else features.to_dict())
        for row, values in enumerate(stream.decode(False)):
            yield class_names.name_classes(values, labelled), f"{where}: row {row}", ()
    except unreadable() as error:
        if not isinstance(error, ConnectionError):  # which nobody could be asked about either
            check_configuration(name, config)
        reason = " ".join(str(error).split())  # on one line
        if os.path.isdir(name):
            raise UserError(f"{where}: not readable ({reason:.200}); correct its README.md or "
                            "files") from error  # fmt: skip
        raise UserError(
            f"{name}: no split {split!r} from the hub ({reason:.200}); give local files: set "
            f"task.data_dir to a folder with {split}.parquet, {split}.jsonl or {split}.json"
        ) from error


def check_reachable(name: str) -> None:
    """Raise ConnectionError where the hub must be asked for a data set and cannot be reached.

    The hub's own libraries try for most of a minute. Nothing is asked for a folder, for data that
    have been fetched before, in offline mode, and behind a proxy.
    """
    from huggingface_hub import constants

    fetched = caches()[0] / name.replace("/", "___")
    if os.path.isdir(name) or constants.HF_HUB_OFFLINE or getproxies() or fetched.is_dir():
        return
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), PATIENCE).close()
    except OSError as error:
        raise ConnectionError(f"{address.hostname} cannot be reached: {error}") from error


def caches() -> tuple[Path, ...]:
    """Return the folders into which the hub's files are fetched, and archives unpacked."""
    from datasets import config
    from huggingface_hub import constants

    folders = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return tuple(map(Path, folders))


def is_configured(root: Path, config: str | None, encoding: str = "") -> bool:
    """Return whether the rows of a local source are those of a configuration, read by ``rows``.

    False where none is asked for: the names of the files tell the splits. Raises UserError where
    the folder's README lists several and none is the default, and for a file, which has none.
    """
    if config is None:
        card = root / "README.md"
        if os.path.isfile(card) and lists_configurations(card):
            check_configuration(str(root), None)
        return False
    if not root.is_dir():
        raise UserError(f"{root!s:.200}: a file has no configurations; remove data.config")
    if encoding:
        raise UserError(f"{root!s:.200}: data.encoding is not applied to a configuration; give "
                        "the file that it names, or save it in UTF-8")  # fmt: skip
    return True


def lists_configurations(card: Path) -> bool:
    """Return whether a README has the hub's list of configurations at its top."""
    with card.open("rb") as file:
        return b"config_name:" in file.read(LONGEST_HEAD).partition(b"\n---")[0]


def check_configuration(name: str, config: str | None) -> None:
    """Raise UserError unless a data set has the configuration, or a default where it is None."""
    import datasets

    try:
        known = datasets.get_dataset_config_names(name)
        default = datasets.get_dataset_default_config_name(name)
    except unreadable():
        return  # what cannot be asked cannot be read either, which says more
    if config is None and len(known) > 1 and default is None:
        raise UserError(f"{name}: has several configurations; choose one by data.config="
                        f"{'|'.join(known):.200}")  # fmt: skip
    if config is not None and config not in known:
        raise UserError(f"{name}: no configuration {config!r:.60}; there is {', '.join(known):.200}"
                        " (data.config=NAME)")  # fmt: skip


def unreadable() -> tuple[type[Exception], ...]:
    """Return the errors of a data set that is not there, damaged, or not to be reached."""
    import datasets

    return (OSError, ValueError, ImportError, datasets.exceptions.DatasetsError)
