"""A drawn portrait in which every engine finds a face, so that engines can be measured without photos."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pgface.faces.pixels import RGBImage

SIDE: Final = 250
"""Width and height in pixels, those of the photos of LFW."""
_FACE: Final = 0.4
"""Width of the face, as a share of the picture's."""
_NOISE: Final = 3.0
_BACKGROUND, _SHOULDERS, _HAIR = (110, 125, 140), (50, 60, 90), (45, 32, 25)
_SKIN, _SHADOW, _NECK, _LIPS = (205, 160, 135), (190, 145, 120), (170, 125, 100), (165, 80, 80)
_SOCKET, _WHITE, _IRIS, _PUPIL, _NOSTRIL = (165, 118, 98), (240, 238, 235), (60, 40, 30), (10, 10, 10), (95, 60, 50)


def drawn_face() -> RGBImage:
    """Draw the portrait, shape (250, 250, 3). It is always the same."""
    scale = _FACE * SIDE
    picture = Image.new("RGB", (SIDE, SIDE), _BACKGROUND)
    draw = ImageDraw.Draw(picture)

    def place(x: float, y: float) -> tuple[float, float]:
        return SIDE / 2 + x * scale, SIDE / 2 + y * scale

    def ellipse(x: float, y: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse((*place(x - width, y - height), *place(x + width, y + height)), fill=colour)

    def rectangle(left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        draw.rectangle((*place(left, top), *place(right, bottom)), fill=colour)

    rectangle(-1.2, 0.95, 1.2, 2.0, _SHOULDERS)
    ellipse(0, -0.12, 0.62, 0.78, _HAIR)
    rectangle(-0.22, 0.4, 0.22, 1.0, _NECK)
    ellipse(0, 0.02, 0.5, 0.68, _SKIN)
    ellipse(0, -0.55, 0.5, 0.2, _HAIR)
    for side in (-1, 1):
        ellipse(0.5 * side, 0.05, 0.07, 0.14, _SHADOW)
        eye = 0.2 * side
        ellipse(eye, -0.08, 0.13, 0.075, _SOCKET)
        ellipse(eye, -0.08, 0.095, 0.045, _WHITE)
        ellipse(eye, -0.08, 0.045, 0.045, _IRIS)
        ellipse(eye, -0.08, 0.02, 0.02, _PUPIL)
        brow = [place(eye - 0.12, -0.18), place(eye, -0.215), place(eye + 0.12, -0.18)]
        draw.line(brow, fill=_HAIR, width=round(0.035 * scale))
    nose = [place(-0.02, -0.05), place(0.02, -0.05), place(0.085, 0.2), place(-0.085, 0.2)]
    draw.polygon(nose, fill=_SHADOW)
    ellipse(0, 0.2, 0.09, 0.04, _NECK)
    ellipse(-0.04, 0.215, 0.022, 0.014, _NOSTRIL)
    ellipse(0.04, 0.215, 0.022, 0.014, _NOSTRIL)
    ellipse(0, 0.39, 0.17, 0.055, _LIPS)
    draw.line([place(-0.17, 0.385), place(0.17, 0.385)], fill=_NOSTRIL, width=max(1, round(0.018 * scale)))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.018 * scale)), np.float64)
    # Light from one side, and the noise of a camera.
    light = 1 - 0.16 * np.clip((np.arange(SIDE) - SIDE / 2) / scale, -1, 1)
    noise = np.random.default_rng(0).normal(0, _NOISE, pixels.shape)
    return np.asarray(np.clip(pixels * light[np.newaxis, :, np.newaxis] + noise, 0, 255), np.uint8)
