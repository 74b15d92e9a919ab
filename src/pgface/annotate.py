"""Drawing an identification onto its photo."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from pgface.faces.pixels import RGBImage
from pgface.results import Identification, IdentifiedFace

_KNOWN = (22, 130, 70)
_STRANGER = (190, 60, 30)


def annotate(pixels: RGBImage, identification: Identification) -> Image.Image:
    """The photo with a box around every face, and the name and similarity of who it is.

    Args:
        pixels: the photo upright, shape (height, width, 3), uint8.
        identification: the answer for this photo.

    """
    image = Image.fromarray(pixels)
    unit = max(image.size) / 800
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(10, round(16 * unit)))
    for face in identification.faces:
        _draw_face(draw, face, font, line=max(1, round(3 * unit)), size=image.size)
    return image


def _draw_face(
    draw: ImageDraw.ImageDraw,
    identified: IdentifiedFace,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line: int,
    size: tuple[int, int],
) -> None:
    x, y, width, height = identified.face.box
    colour = _KNOWN if identified.identified else _STRANGER
    draw.rectangle((x, y, x + width, y + height), outline=colour, width=line)
    label = "unknown"
    if identified.matches:
        label = f"{identified.matches[0].name}  {identified.matches[0].similarity:.2f}"
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    label_width, label_height = right - left + 4 * line, bottom - top + 4 * line
    # Above the box if there is room, else inside it; never beyond the picture's edges.
    label_x = max(0.0, min(x, size[0] - label_width))
    label_y = y - label_height if y >= label_height else max(0.0, y)
    draw.rectangle((label_x, label_y, label_x + label_width, label_y + label_height), fill=colour)
    draw.text((label_x + 2 * line - left, label_y + 2 * line - top), label, fill="white", font=font)
