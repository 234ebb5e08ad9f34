"""Maintainer's command that made ``assets/``: ``python -m vrft.demo.make_assets FOLDER``.

Users never need it: the pictures are shipped. It needs npm, Debian's apt-get and dpkg-deb, and
``pip install resvg-py==0.5.0 scikit-image==0.26.0``; packages are fetched at the versions named
below.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vrft import paths
from vrft.demo import fashion
from vrft.demo.instructions import CLASSES

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
}
"""Artist -> npm package with the artist's icons."""

ICONS = {
    "apple": "red-apple",
    "football": "soccer-ball",
    "boat": "sailboat",
    "car": "automobile",
    "donut": "doughnut",
    "plane": "airplane",
}
"""Class -> its icon's name, where the two differ."""

BACKGROUNDS: dict[str, tuple[str, tuple[int, int, int, int], tuple[str, str] | None]] = {
    "brick": ("brick.png", (0, 0, 512, 512), ("#3a1710", "#f0d5c0")),
    "grass": ("grass.png", (0, 0, 512, 512), ("#0c1f08", "#dcedb4")),
    "gravel": ("gravel.png", (0, 0, 512, 512), ("#231f1b", "#efe6d8")),
    "coffee": ("coffee.png", (0, 0, 600, 400), None),
    "evening": ("rocket.jpg", (350, 0, 640, 427), None),
    "park": ("camera.png", (306, 0, 512, 512), None),
    "stars": ("hubble_deep_field.jpg", (200, 100, 800, 700), None),
}
"""Name -> (picture of scikit-image, crop in pixels, colours for black and white in a grey one)."""

FASHION = "dataset-fashion-mnist=0.0~git20200523.55506a9-1"
"""Debian's package of Fashion-MNIST."""

FASHION_FILES = {"lessons": "train", "shots": "t10k"}
"""Kind of sheet -> the prefix of its files in the package: training pictures, test pictures."""

SPRITE_EDGE = 64
"""Longer edge of a shipped drawing in pixels; scenes of 112 pixels show it at up to 56."""

BACKGROUND_EDGE = 336
"""Largest longer edge of a shipped photograph in pixels."""


def icons(package: str) -> dict[str, Any]:
    """Download an npm package and return its parsed ``icons.json``."""
    with tempfile.TemporaryDirectory() as folder:
        # ``npm pack`` downloads without installing: no script of the package is run.
        command = ["npm", "pack", "--silent", package]
        name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        with tarfile.open(Path(folder) / name.stdout.strip()) as archive:
            member = archive.extractfile("package/icons.json")
            assert member is not None
            return dict(json.load(member))


def sprite(collection: dict[str, Any], icon: str) -> Image.Image:
    """Return an icon cut to its outline; its longer edge has SPRITE_EDGE pixels."""
    # Here and in ``background``: packages that only maintainers have.
    from resvg_py import svg_to_bytes

    # An icon has a size of its own only where it differs from the collection's.
    entry = collection["icons"][icon]
    width, height = (entry.get(key, collection[key]) for key in ("width", "height"))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{entry["body"]}</svg>'
    )
    # Rendered eight times too large, so that the outline is found to a fraction of a final pixel.
    png = svg_to_bytes(svg_string=svg, width=512, height=512)
    large = Image.open(io.BytesIO(png)).convert("RGBA")
    outline = large.getchannel("A").point(lambda alpha: 255 * (alpha >= 128))
    cut = large.crop(outline.getbbox())
    scale = SPRITE_EDGE / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    # At most 256 colours, for small files; of Pillow's own methods only this keeps transparency.
    return cut.resize(size, Image.Resampling.LANCZOS).quantize(method=Image.Quantize.FASTOCTREE)


def background(
    source: str, crop: tuple[int, int, int, int], colours: tuple[str, str] | None
) -> Image.Image:
    """Return a cropped photograph, coloured if grey, its longer edge at most BACKGROUND_EDGE."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / source) as original:
        picture = original.crop(crop).convert("RGB")
    if colours is not None:
        picture = ImageOps.colorize(ImageOps.autocontrast(picture.convert("L")), *colours)
    picture.thumbnail((BACKGROUND_EDGE, BACKGROUND_EDGE), Image.Resampling.LANCZOS)
    return picture


def clothes(folder: Path) -> None:
    """Write the first pictures of each class as sheets ``folder/KIND/CLASS.png``."""
    with tempfile.TemporaryDirectory() as place:
        # Downloaded and unpacked, but not installed: that needs no administrator.
        subprocess.run(["apt-get", "download", "--quiet", FASHION], cwd=place, check=True)
        (package,) = Path(place).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, place], check=True)
        data = Path(place) / "usr/share/datasets/fashion-mnist"
        for kind, prefix in FASHION_FILES.items():
            raw = gzip.decompress((data / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((data / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
            # IDX: a head of 16 and of 8 bytes, then a byte a pixel and a byte a label.
            cells = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, fashion.CELL, fashion.CELL)
            label_of = np.frombuffer(labels, np.uint8, offset=8)  # [N]
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for label, category in enumerate(fashion.CLASSES):
                sheet = fashion.sheet(cells[label_of == label][: fashion.SHEETS[kind]])
                sheet.save(folder / kind / f"{fashion.stem(category)}.png", optimize=True)


def main() -> None:
    """Write all shipped pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=paths.expanded, help="where the pictures are written")
    folder = parser.parse_args().folder
    for artist, package in PACKAGES.items():
        collection = icons(package)
        (folder / "sprites" / artist).mkdir(parents=True, exist_ok=True)
        for name in CLASSES:
            picture = sprite(collection, ICONS.get(name, name))
            picture.save(folder / "sprites" / artist / f"{name}.png", optimize=True)
    (folder / "backgrounds").mkdir(parents=True, exist_ok=True)
    for name, recipe in BACKGROUNDS.items():
        path = folder / "backgrounds" / f"{name}.jpg"
        background(*recipe).save(path, quality=85, optimize=True)
    clothes(folder / "fashion")


if __name__ == "__main__":
    main()
