"""Shipped pictures: where they come from, and how the maintainer's command treats each kind."""

import gzip
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vrft.demo import fashion, make_assets
from vrft.demo.instructions import CLASSES
from vrft.demo.scenes import SEEN, UNSEEN
from vrft.demo.sprites import ASSETS


def licences() -> str:
    return (ASSETS / "LICENSES.md").read_text(encoding="utf-8")


def test_every_artist_has_drawn_every_class_and_nothing_else() -> None:
    assert {path.name for path in (ASSETS / "sprites").iterdir()} == set(make_assets.PACKAGES)
    assert set(SEEN.artists + UNSEEN.artists) == set(make_assets.PACKAGES)
    for artist in make_assets.PACKAGES:
        assert {path.stem for path in (ASSETS / "sprites" / artist).iterdir()} == set(CLASSES)


def test_every_background_is_shipped_and_shown_in_a_style() -> None:
    shipped = {path.stem for path in (ASSETS / "backgrounds").iterdir()}
    assert shipped == set(make_assets.BACKGROUNDS) == set(SEEN.backgrounds + UNSEEN.backgrounds)


def test_every_shipped_picture_has_its_source_and_licence_on_file() -> None:
    for artist, package in make_assets.PACKAGES.items():
        name, _, version = package.rpartition("@")
        assert re.search(rf"`sprites/{artist}/`.*`{name}` {re.escape(version)}", licences())
    for name, (source, _, _) in make_assets.BACKGROUNDS.items():
        assert re.search(rf"`{name}.jpg` \| `{source}` .*(CC0|public domain)", licences())
    text = " ".join(licences().split())
    assert ", ".join(CLASSES) in text
    package, _, version = make_assets.FASHION.partition("=")
    assert re.search(rf"`{package}` {re.escape(version)}.*MIT.*© 2017 Zalando SE", text)


def test_the_shipped_pictures_stay_below_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 2_000_000


def test_an_icon_is_cut_to_its_outline_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def svg_to_bytes(svg_string: str, width: int, height: int) -> bytes:
        asked.append(svg_string)
        canvas = Image.new("RGBA", (width, height))
        # An object of 300 x 150 pixels within a shadow of little alpha, which does not count.
        ImageDraw.Draw(canvas).rectangle((50, 50, 449, 299), fill=(0, 0, 0, 60))
        ImageDraw.Draw(canvas).rectangle((100, 100, 399, 249), fill=(255, 0, 0, 255))
        buffer = io.BytesIO()
        canvas.save(buffer, "PNG")
        return buffer.getvalue()

    module: Any = ModuleType("resvg_py")
    module.svg_to_bytes = svg_to_bytes
    monkeypatch.setitem(sys.modules, "resvg_py", module)
    collection = {"width": 128, "height": 64, "icons": {"key": {"body": "<g/>", "height": 32}}}
    picture = make_assets.sprite(collection, "key").convert("RGBA")
    # Width from the collection, height from the icon itself.
    assert 'viewBox="0 0 128 32"><g/></svg>' in asked[0]
    assert picture.size == (64, 32)
    assert picture.getpixel((32, 16)) == (255, 0, 0, 255)


def test_a_grey_photograph_is_cropped_and_coloured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("skimage")
    module.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "skimage", module)
    (tmp_path / "data").mkdir()
    # Black, grey and white columns of 300 pixels; the crop takes black and white apart.
    columns = np.repeat(np.array([0, 128, 255], np.uint8), 300)
    Image.fromarray(np.tile(columns, (450, 1))).save(tmp_path / "data" / "grey.png")
    picture = make_assets.background("grey.png", (0, 0, 900, 450), ("#402000", "#ffe0c0"))
    assert picture.mode == "RGB" and picture.size == (make_assets.BACKGROUND_EDGE, 168)
    assert picture.getpixel((0, 0)) == (0x40, 0x20, 0x00)
    assert picture.getpixel((335, 167)) == (0xFF, 0xE0, 0xC0)
    as_it_was = make_assets.background("grey.png", (300, 0, 600, 300), None)
    assert as_it_was.size == (300, 300) and as_it_was.getpixel((0, 0)) == (128, 128, 128)


def test_sheets_hold_the_first_pictures_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 30 pictures of each class in turns; a picture is filled with its number within its class.
    labels = np.tile(np.arange(10, dtype=np.uint8), 30)
    numbers = np.repeat(np.arange(30, dtype=np.uint8), 10)
    cells = np.broadcast_to(numbers[:, None, None], (300, fashion.CELL, fashion.CELL))

    def run(command: Sequence[str], check: bool, cwd: str = "") -> None:
        if command[0] == "apt-get":
            (Path(cwd) / "package.deb").touch()
            return
        # dpkg-deb --extract PACKAGE FOLDER
        data = Path(command[-1]) / "usr/share/datasets/fashion-mnist"
        data.mkdir(parents=True)
        for prefix in make_assets.FASHION_FILES.values():
            images = gzip.compress(bytes(16) + cells.tobytes())
            (data / f"{prefix}-images-idx3-ubyte.gz").write_bytes(images)
            (data / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
                gzip.compress(bytes(8) + labels.tobytes())
            )

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(fashion, "SHEETS", {"lessons": 20, "shots": 20})
    make_assets.clothes(tmp_path)
    assert len(list(tmp_path.rglob("*.png"))) == 2 * 10
    sheet = np.asarray(Image.open(tmp_path / "shots" / "ankle-boot.png"))
    # One row of twenty: the pictures numbered 0 to 19.
    assert sheet.shape == (fashion.CELL, 20 * fashion.CELL)
    assert sheet[0, :: fashion.CELL].tolist() == list(range(20))
