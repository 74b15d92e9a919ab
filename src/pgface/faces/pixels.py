"""The types of decoded pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGBImage = NDArray[np.uint8]
"""An upright picture, shape (height, width, 3), dtype uint8, channels red, green, blue."""

CROP_SIZE = 224
"""Side of the stored face crop, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upright photo that may be decoded at a reduced scale first, because that is faster."""

    pixels: RGBImage
    """All pixels, or those of the reduced photo."""
    size: tuple[int, int]
    """Width and height of the whole photo, in pixels."""
    whole: Callable[[], RGBImage]
    """Returns all pixels. A reduced photo is decoded again by the first call."""

    @classmethod
    def of(cls, image: RGBImage | Picture) -> Picture:
        """Return a picture of pixels that are all there."""
        if isinstance(image, Picture):
            return image
        return cls(image, (image.shape[1], image.shape[0]), lambda: image)

    @property
    def is_whole(self) -> bool:
        """Whether `pixels` are all pixels."""
        return self.pixels.shape[1::-1] == self.size
