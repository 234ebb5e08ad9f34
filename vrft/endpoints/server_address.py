"""The address and the key of a chat server, and what of them may be written down."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from vrft.errors import UserError


@dataclass(frozen=True)
class Address:
    """The address of a server up to ``/v1``: as it is asked, and as it may be written down.

    ``shown`` has neither a user's name and password nor a query, which may hold a key.
    """

    url: str
    shown: str
    secrets: tuple[str, ...] = ()

    def path(self, path: str) -> str:
        """Return the address of a path below this one, such as "/models"."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def read_address(url: str) -> Address:
    """Return the address of a server.

    Raises UserError for a text that is no address, without repeating what may be a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or not url.isprintable():
        raise UserError(
            "--endpoint: give the address of a server up to /v1, such as http://127.0.0.1:8000/v1"
        )
    if parts.path.rstrip("/").endswith(("/chat/completions", "/completions", "/models")):
        raise UserError(
            "--endpoint: give the address up to /v1; what is asked there, such as "
            "/chat/completions, is added"
        )
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    values = [value for _, _, value in (p.partition("=") for p in parts.query.split("&"))]
    written = [parts.password, parts.username if parts.password is None else None, *values]
    secrets = tuple(text for value in written if value for text in {value, unquote(value)})
    return Address(url, urlunsplit(shown).rstrip("/"), secrets)


def read_key(name: str, *, default: str) -> str:
    """Return the key in the environment variable ``name``; "" where none is needed or set.

    Raises UserError for a variable that was asked for by name and is empty, and for a key that no
    header can hold.
    """
    key = os.environ.get(name, "").strip()
    if not key and name != default:
        raise UserError(f"endpoint.key_env={name}: the environment variable {name} is not set")
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise UserError(f"the key in {name} has blanks or letters that no header can hold")
    return key
