"""Every form in which data give a picture is the same picture, and no other value is one."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vrft import images
from vrft.errors import UserError


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_every_form_of_a_picture_is_the_same_picture(tmp_path: Path) -> None:
    picture = Image.effect_noise((40, 20), 80).convert("RGB")
    path = tmp_path / "a.png"
    picture.save(path)
    content = path.read_bytes()
    forms = [
        # a file, by its path or as a URI
        path, str(path), path.as_uri(), {"path": str(path)}, {"bytes": None, "path": str(path)},
        # the content of a file
        content, bytearray(content), memoryview(content), {"bytes": content, "path": "gone.png"},
        # the content as text, also as a chat message has it, and with line breaks
        f"data:image/png;base64,{as_base64(content)}", as_base64(content),
        base64.encodebytes(content).decode(),
        {"url": f"data:image/png;base64,{as_base64(content)}"},
        {"image_url": {"url": f"data:image/png;base64,{as_base64(content)}"}},
        # pixels
        picture, {"image": picture}, np.asarray(picture), np.asarray(picture.convert("RGBA")),
        {"image": np.asarray(picture)}, {"image_url": {"url": np.asarray(picture)}},
    ]  # fmt: skip
    for form in forms:
        opened = images.open_image(form)
        assert opened.tobytes() == picture.tobytes(), form
        assert images.image_size(form) == (40, 20)
    hashes = {images.content_hash(form) for form in forms}
    assert len(hashes) == 2  # of the file, and of its pixels


def test_arrays_of_grey_are_pictures() -> None:
    grey = np.array([[0, 51]], dtype=np.uint8)
    # of 8 bits, with a third axis of 1, of 16 bits (51 * 257), and of truth values
    for array in (grey, grey[:, :, None], grey.astype(np.uint16) * 257):
        opened = images.open_image(array)
        assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), (51, 51, 51)]
    assert images.open_image(np.array([[True]])).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        # nothing, numbers, lists, other objects
        (None, "not None"),
        ("", "not ''"),
        (5, "a picture is a path or the bytes of a file, not 5"),
        (["a.png"], "not a value of type list"),
        ({"bytes": None}, "not None"),
        (object(), "not a value of type object"),
        # floats, channels first, no pixels
        (np.zeros((4, 4, 3)), r"an array of float64, 4 x 4 x 3; give uint8"),
        (np.zeros((3, 40, 40), np.uint8), r"an array of uint8, 3 x 40 x 40; give uint8, height"),
        (np.zeros((0, 4), np.uint8), "an array of uint8, 0 x 4"),
        # nothing is fetched
        ("https://example.org/a.png", r"at a URL \(https://example\.org/a\.png\): nothing is"),
        ("s3://bucket/a.png", "at a URL"),
        ({"url": "HTTP://example.org"}, "at a URL"),
        # damaged text
        ("data:image/png,abc", "a data URI without base64"),
        ("data:image/png;base64,a", "in base64 that cannot be decoded"),
        # base64 of a file that is cut off, and a name that no disk takes
        ("iVBORw0KGgo" + "A" * 4001, "a picture in memory: not a picture"),
        ("a" * 5000, r"a{120}\.\.\. \(5000 characters\): no such picture"),
        ("a\0b", "no such picture"),
        # no pixels
        (Image.new("RGB", (0, 5)), "a picture of 0x5 has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_short_line(value: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        images.open_image(value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
