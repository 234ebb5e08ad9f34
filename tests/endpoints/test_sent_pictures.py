"""Pictures as a chat server gets them: their pixels, their sizes and their views."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.endpoints.sent_pictures import load_sight
from vrft.errors import PictureError, UserError
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.types import Prompt, View

Picture = Callable[..., Image.Image]


def sent(endpoint: EndpointConfig, source: Any) -> Image.Image:
    """Return the picture that a server decodes."""
    _, _, data = load_sight(endpoint).data_uri(source).partition(",")
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_a_picture_is_sent_in_the_pixels_that_the_model_itself_sees(
    family: str, model_folder: Callable[[str], Path], load_tiny: Any, picture: Picture
) -> None:
    endpoint = EndpointConfig(processor=str(model_folder(family)))
    sight, loaded, image = load_sight(endpoint), load_tiny(family), picture(97, 131)
    encoded = encoding.encode(loaded, Prompt("?", (image,)))
    assert (sight.view(image),) == encoded.views
    # Sent and resized again, as the server's own processor does, it has the same patches.
    again = loaded.processor.image_processor(images=[sent(endpoint, image)], return_tensors="pt")
    assert np.array_equal(again["pixel_values"].numpy(), encoded.pixels.numpy())


@pytest.mark.parametrize(
    ("family", "size", "view"),
    [
        # 28 pixels a token, at least 4 tokens: 97 x 131 is 3.5 x 4.7 of them.
        ("qwen2_vl", (97, 131), View(84, 140, "thousandths")),
        ("qwen2_5_vl", (97, 131), View(84, 140, "pixels")),
        # 32 pixels a token, at least 64 of them: sqrt(65536 / (97 * 131)) = 2.27 times as large,
        # 220.3 x 297.5, in whole tokens upwards.
        ("qwen3_vl", (97, 131), View(224, 320, "thousandths")),
        ("qwen3_5", (640, 480), View(640, 480, "thousandths")),
    ],
)
def test_a_family_by_its_name_resizes_as_its_published_models_do(
    family: str, size: tuple[int, int], view: View, picture: Picture
) -> None:
    endpoint = EndpointConfig(family=family)
    assert load_sight(endpoint).view(picture(*size)) == view
    assert sent(endpoint, picture(*size)).size == (view.width, view.height)


def test_every_family_with_vision_has_limits_in_whole_image_tokens() -> None:
    for name, family in FAMILIES.items():
        low, high, side = load_sight(EndpointConfig(family=name)).limits or (0, 0, 1)
        assert (side > 1) == family.has_vision
        assert low % side**2 == high % side**2 == 0


def test_other_limits_are_kept_to_and_must_not_cross(picture: Picture) -> None:
    endpoint = EndpointConfig(family="qwen2_5_vl", max_pixels=16 * 28**2)
    # 560 x 280 shrinks to at most 12,544 pixels: 158.4 x 79.2, in whole tokens downwards.
    assert sent(endpoint, picture(560, 280)).size == (140, 56)
    assert load_sight(endpoint).limits == [4 * 28**2, 16 * 28**2, 28]
    with pytest.raises(UserError, match=r"min_pixels 9000 exceeds endpoint.max_pixels 4000"):
        load_sight(EndpointConfig(family="qwen2_vl", min_pixels=9000, max_pixels=4000))


def test_pictures_as_they_are_keep_every_pixel(picture: Picture, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    picture(97, 131).save(file)
    as_it_is = EndpointConfig(resize="server")
    assert np.array_equal(np.asarray(sent(as_it_is, file)), np.asarray(picture(97, 131)))
    assert load_sight(as_it_is).view(file) == View(97, 131, "thousandths")
    pixels = EndpointConfig(resize="server", space="pixels")
    assert load_sight(pixels).view(file) == View(97, 131, "pixels")
    # A server of a known family resizes by the family's rule, and there the model's pixels are.
    known = EndpointConfig(resize="server", family="qwen2_5_vl")
    assert sent(known, file).size == (97, 131)
    assert load_sight(known).view(file) == View(84, 140, "pixels")


def test_pictures_are_sent_upright(picture: Picture, tmp_path: Path) -> None:
    file, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture(140, 84).save(file, exif=exif)
    for endpoint in (EndpointConfig(resize="server"), EndpointConfig(family="qwen2_vl")):
        view = load_sight(endpoint).view(file)
        assert sent(endpoint, file).size == (view.width, view.height) == (84, 140)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"endpoint.family=llava: expected one of qwen2_vl"):
        load_sight(EndpointConfig(family="llava"))
    with pytest.raises(UserError, match="is not on this machine"):
        load_sight(EndpointConfig(processor="nobody/nothing"))
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"a\.png"):
        load_sight(EndpointConfig(family="qwen2_vl")).data_uri(tmp_path / "a.png")
