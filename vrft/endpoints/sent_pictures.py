"""Pictures as they are sent to a chat server, and the size and space in which it sees them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.errors import UserError
from vrft.images import image_size, open_image, resized_size
from vrft.models import processors, prompt_tokens
from vrft.models.families import FAMILIES, Family, read_family
from vrft.types import Space, View


@dataclass(frozen=True)
class Sight:
    """A model's way of seeing pictures, as far as it is known.

    ``family`` is None for a model of no known family, and ``pictures`` is the image processor that
    resizes, None too for text-only models. ``counter`` counts prompts where the model's own
    processor is at hand.
    """

    family: Family | None = None
    pictures: Any = None
    space: Space | None = None
    resize: bool = True
    counter: prompt_tokens.TokenCounter | None = None

    @property
    def has_vision(self) -> bool:
        """Return whether the model reads pictures; one of no known family is taken to."""
        return self.family is None or self.family.has_vision

    @property
    def limits(self) -> list[int]:
        """Return the smallest and largest area of a picture, and the side of an image token.

        [] where pictures are not resized by a rule that is known.
        """
        if self.pictures is None:
            return []
        size = self.pictures.size  # areas in pixels, in spite of the names in transformers
        side = self.pictures.patch_size * self.pictures.merge_size
        return [size["shortest_edge"], size["longest_edge"], side]

    def data_uri(self, source: Path | Image.Image) -> str:
        """Return a picture, upright and as RGB, as a PNG in a data URI.

        It is resized as the model's processor does, or left to the server to resize. Raises
        PictureError for a file that is no picture.
        """
        image = open_image(source)
        if self.resize:
            image = self.resized(image)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=6)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

    def resized(self, image: Image.Image) -> Image.Image:
        """Return the picture in the pixels that the processor makes of it."""
        from vrft.models.resized_pictures import resized_picture
        from vrft.models.vision_features import PatchedPicture

        inputs = self.pictures(images=[image], return_tensors="pt")
        patched = PatchedPicture(b"", inputs["pixel_values"], inputs["image_grid_thw"])
        return resized_picture(self.pictures, patched)

    def view(self, source: Path | Image.Image) -> View:
        """Return the size and space in which the model writes coordinates, from the file's head.

        Pictures that the server resizes are taken to be resized by the rule of the family; those of
        a model of no known family are seen as they are sent.
        """
        width, height = image_size(source)
        if self.limits:
            width, height = resized_size(width, height, *self.limits)
        return View(width, height, self.space or "thousandths")


def load_sight(endpoint: EndpointConfig) -> Sight:
    """Return how the model of an endpoint sees pictures, as its settings say.

    Raises UserError for an unknown family, and where there is no processor.
    """
    resize = endpoint.resize == "family"
    if endpoint.processor:
        family = read_family(prompt_tokens.local_folder(endpoint.processor))
        processor: Any = processors.load_processor(
            prompt_tokens.local_folder(endpoint.processor), endpoint.min_pixels, endpoint.max_pixels
        )
        pictures = getattr(processor, "image_processor", None)
        counter = prompt_tokens.TokenCounter(processor) if resize else None
        return Sight(family, pictures, family.space, resize, counter)
    if endpoint.family:
        known = FAMILIES.get(endpoint.family)
        if known is None:
            raise UserError(f"endpoint.family={endpoint.family}: expected one of "
                            f"{', '.join(FAMILIES)}")  # fmt: skip
        pictures = published_pictures(known, endpoint) if known.has_vision else None
        return Sight(known, pictures, known.space, resize)
    return Sight(space=endpoint.space or None, resize=resize)


def published_pictures(family: Family, endpoint: EndpointConfig) -> Any:
    """Return the image processor of a family's published models, with the endpoint's limits."""
    from transformers import Qwen2VLImageProcessorPil

    low = endpoint.min_pixels or family.min_pixels
    high = endpoint.max_pixels or family.max_pixels
    if low > high:
        raise UserError(f"endpoint.min_pixels {low} exceeds endpoint.max_pixels {high}; raise one "
                        "or lower the other")  # fmt: skip
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": low, "longest_edge": high}, patch_size=family.patch_size
    )
