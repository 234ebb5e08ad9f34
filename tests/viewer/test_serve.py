import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import viewed
from PIL import Image

from vrft.errors import UserError
from vrft.viewer import serve, views
from vrft.viewer.site import Site


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve an evaluation and yield the address."""
    with serve.server(views.open_site([viewed.evaluations(tmp_path)[0]])) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def get(url: str, **headers: str) -> tuple[bytes, str]:
    """Return the body and the media type of a page."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return answer.read(), answer.headers["Content-Type"]


def test_the_app_its_documents_and_pictures_are_served(address: str) -> None:
    assert b"<!doctype html>" in get(address)[0]
    assert get(address + "style.css")[1] == "text/css; charset=utf-8"
    body, kind = get(address + "data/e0/texts-0.js?1")
    assert kind == "text/javascript" and body.startswith(b'vrft.receive("e0/texts-0"')
    name = body.partition(b'"pictures":["')[2].partition(b'"')[0].decode()
    picture, kind = get(f"{address}pictures/e0/{name}")
    assert kind == "image/jpeg" and picture[:2] == b"\xff\xd8"
    small, kind = get(f"{address}thumbnails/e0/{name}.jpg")
    assert kind == "image/jpeg" and small[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "path",
    [
        "../serve.py",
        "%2e%2e/serve.py",
        "/etc/passwd",
        "data/e0/x.js",
        "pictures/e0/x",
        "data",
        "thumbnails/e0/x.jpg",
        "thumbnails/e0",
    ],
)
def test_nothing_else_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(address + path)
    assert error.value.code == 404
    error.value.close()


def test_a_page_that_comes_under_another_name_is_refused(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(address, Host="evil.example")
    assert error.value.code == 403
    error.value.close()


@dataclass
class Memory:
    """A view with one picture in memory, which counts how often it is asked for."""

    entry: Mapping[str, Any] = field(default_factory=lambda: {"kind": "run", "title": "run"})
    asked: int = 0

    def documents(self) -> list[str]:
        return []

    def document(self, name: str) -> Any:
        raise KeyError(name)

    def pictures(self) -> list[str]:
        return ["memory-1.png"]

    def picture(self, name: str) -> Image.Image:
        self.asked += 1
        if name != "memory-1.png":
            raise KeyError(name)
        return Image.new("RGB", (4, 4), "red")


def test_a_browser_that_goes_away_is_nothing_to_tell(
    address: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> None:
        def refuse(*given: object) -> tuple[bytes, str]:
            raise error

        monkeypatch.setattr(serve, "content", refuse)
        with pytest.raises(ConnectionError):
            urllib.request.urlopen(address)

    fail(ConnectionResetError())
    fail(BrokenPipeError())
    assert capfd.readouterr().err == ""
    fail(ZeroDivisionError())
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_picture_in_memory_has_a_thumbnail_that_is_made_once() -> None:
    view = Memory()
    with serve.server(Site("a", {"r0": view})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/thumbnails/r0/memory-1.png.jpg"
        bodies = {get(url) for _ in range(2)}
        server.shutdown()
        thread.join()
    assert [kind for _, kind in bodies] == ["image/jpeg"] and view.asked == 1


@pytest.mark.parametrize("port", [99999, -1])
def test_a_number_that_no_port_has_is_refused_in_a_line(port: int) -> None:
    with pytest.raises(UserError, match=f"--port {port}: ports are 0 to 65535"):
        serve.server(Site("a", {}), port)


def test_a_port_that_is_taken_is_refused_in_a_line(tmp_path: Path) -> None:
    site = views.open_site([viewed.evaluations(tmp_path)[0]])
    with (
        serve.server(site) as server,
        pytest.raises(UserError, match="--port"),
        serve.server(site, server.server_address[1]),
    ):
        pass
