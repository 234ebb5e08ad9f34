"""The server of the app, on this machine alone."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from vrft.errors import UserError
from vrft.viewer import pictures
from vrft.viewer.site import APP, PICTURES, THUMBNAILS, Site

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'"
"""The page runs its own scripts and nothing else, whatever an answer or a question says."""


MOST_PORTS = 65535
"""The largest number of a port."""

REMEMBERED = 4096
"""Thumbnails that a server remembers, those asked for last: some 12 MB."""


class Handler(BaseHTTPRequestHandler):
    """The handler of one request for a file of the app, a document or a picture."""

    def __init__(self, site: Site, thumbnail: Callable[[str], bytes], *args: object) -> None:
        self.site, self.thumbnail = site, thumbnail
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with the file, or 404; 403 to a page that came under another name."""
        # A page of the web can have its own name point to this machine; the browser then says so.
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = posixpath.normpath(unquote(urlsplit(self.path).path)).lstrip("/")
        try:
            body, kind = content(self.site, path or "index.html", self.thumbnail)
        except KeyError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        except UserError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # A picture's name tells its source; documents of a run grow.
        fixed = path.startswith((f"{PICTURES}/", f"{THUMBNAILS}/"))
        keep = "max-age=3600" if fixed else "no-store"
        self.send_header("Cache-Control", keep)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of single requests."""


class Server(ThreadingHTTPServer):
    """The server of a page whose browser may go away in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the error of a request, unless it is that nobody waits for the answer any more."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def content(site: Site, path: str, thumbnail: Callable[[str], bytes]) -> tuple[bytes, str]:
    """Return the bytes of a path of the site, and their media type; KeyError for any other.

    ``thumbnail`` makes that of a picture's name.
    """
    if path.startswith("data/") and path.endswith(".js"):
        name = path.removeprefix("data/").removesuffix(".js")
        return site.document(name).encode("ascii"), "text/javascript"
    if path.startswith(f"{PICTURES}/"):
        return pictures.encoded(site.picture(path.removeprefix(f"{PICTURES}/")))
    if path.startswith(f"{THUMBNAILS}/"):
        name = path.removeprefix(f"{THUMBNAILS}/").removesuffix(".jpg")
        return thumbnail(name), "image/jpeg"
    file = APP / path
    if "/" in path or not file.is_file():
        raise KeyError(path)
    return file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8"


def server(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the site on 127.0.0.1; port 0 takes a free one.

    Raises UserError for a port that is taken, and for a number that no port has.
    """
    if not 0 <= port <= MOST_PORTS:
        raise UserError(f"--port {port}: ports are 0 to {MOST_PORTS}; leave it out for a free one")

    # By its name, which tells the version of a file; a picture in memory has nothing else.
    @lru_cache(maxsize=REMEMBERED)
    def thumbnail(name: str) -> bytes:
        return pictures.thumbnail(site.picture(name))

    try:
        return Server(("127.0.0.1", port), partial(Handler, site, thumbnail))
    except OSError as error:
        raise UserError(
            f"--port {port}: {error.strerror}; give another, or leave it out for a free one"
        ) from error
