"""Pixels of any mode as RGB: transparency on white, deep grey in 8 bits."""

from __future__ import annotations

from PIL import Image

# numpy is imported inside functions: few pictures need it, and every task loads this module.


COLOURS = 256
"""Colours of a palette, and levels of grey."""


def to_rgb(image: Image.Image, highest: int | None = 65535) -> Image.Image:
    """Convert a picture of any mode to RGB, with transparency laid on white.

    Pixels deeper than 8 bits are scaled, so that ``highest`` becomes white. Raises ValueError for
    a mode that has no such range (I and F) and for one that Pillow cannot convert.
    """
    if image.mode.startswith(("I", "F")):
        return eight_bits(image, highest).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode in ("P", "L") and image.width * image.height > COLOURS:
        return colours_on_white(image).convert("RGB")
    # La is LA multiplied by its transparency, and Pillow has no direct way from it.
    transparent = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(transparent, mask=transparent.getchannel("A"))
    return white


def colours_on_white(image: Image.Image) -> Image.Image:
    """Return a picture of mode P or L whose colours are laid on white, in place of its pixels."""
    colours = image.crop((0, 0, COLOURS, 1))
    colours.putdata(range(COLOURS))
    white = to_rgb(colours)
    if image.mode == "L":
        opaque = image.point([*white.getchannel("R").tobytes()])
    else:
        opaque = image.copy()
        opaque.putpalette(white.tobytes())
    opaque.info.pop("transparency", None)
    return opaque


def mend_transparency(image: Image.Image) -> None:
    """Put a PNG's transparent grey on the scale of its decoded pixels, before these are decoded.

    Pillow scales pixels of 2 and 4 bits to 8 and leaves the transparent one as it is. Raises
    ValueError for colours of 16 bits, of which Pillow decodes too little to find that one.
    """
    if image.format != "PNG" or not getattr(image, "tile", None):
        return
    mode, key = image.tile[0][3], image.info.get("transparency")  # type: ignore[attr-defined]
    if mode == "RGB;16B" and key is not None:
        raise ValueError("a transparent colour of 16 bits; save it with 8 bits or an alpha channel")
    if isinstance(key, int):
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}.get(mode, 1)


def white_of(image: Image.Image) -> int | None:
    """Return the value of white in an opened picture deeper than 8 bits; None if unknown."""
    if image.mode.startswith("I;16"):
        depths = getattr(image, "tag_v2", {}).get(258)  # TIFF's BitsPerSample: 16, or 12
        return int((1 << (depths or (16,))[0]) - 1)
    # Pillow reads a PGM file of any depth into mode I, scaled to 16 bits.
    return 65535 if image.mode == "I" and image.format == "PPM" else None


def eight_bits(image: Image.Image, highest: int | None) -> Image.Image:
    """Return a deep picture in 8 bits of grey, each pixel rounded to the nearest."""
    import numpy as np

    if image.mode == "F" or highest is None:
        raise ValueError(f"mode {image.mode} has no value of white; save it with 8 or 16 bits")
    values = np.asarray(image).astype(np.int64)
    grey = (values * 255 + highest // 2) // highest
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))
