"""Draw an identification onto its photo."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageDraw

from pgface.faces.engines.base import Box
from pgface.faces.fonts import Font, font_for, runs_from_right
from pgface.faces.pixels import RGBImage
from pgface.results import Identification, IdentifiedFace

_IDENTIFIED_COLOUR = (22, 130, 70)
_UNKNOWN_COLOUR = (190, 60, 30)
_MIN_LETTER_SIZE = 9
"""Height of the smallest letters, in pixels. Names that would need smaller letters are in the legend instead."""
_LABEL_SIZES = (1.0, 0.85, 0.7, 0.6)
"""The sizes to try for a label, as shares of the usual size."""
_NAME_LINES = (2, 3, 4)
"""The numbers of lines to try for a name, which is broken between words."""


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A photo with its identification drawn onto it."""

    image: Image.Image
    legend: tuple[str, ...]
    """Names that are not in the picture, such as "user 12: 王小明", because of missing letters or room."""


class _Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Rectangle) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of text, in pieces from left to right, each with its font."""

    pieces: tuple[tuple[str, Font], ...]

    @property
    def width(self) -> float:
        return sum(font.getlength(text) for text, font in self.pieces)

    @property
    def ascent(self) -> int:
        return max(font.getmetrics()[0] for _, font in self.pieces)

    @property
    def height(self) -> int:
        return self.ascent + max(font.getmetrics()[1] for _, font in self.pieces)


@dataclass(frozen=True, slots=True)
class _Label:
    """The lines of a label, and its margin in pixels."""

    lines: tuple[_Line, ...]
    margin: int

    @property
    def width(self) -> float:
        return max(line.width for line in self.lines) + 2 * self.margin

    @property
    def height(self) -> float:
        return sum(line.height for line in self.lines) + 2 * self.margin


def annotate(pixels: RGBImage, identification: Identification) -> Annotated:
    """Draw a box around every face, with the name and the similarity of the person.

    Names are drawn in their own script. Words stay whole, labels stay inside the picture and do not overlap.

    Args:
        pixels: the upright photo, shape (height, width, 3), uint8.
        identification: the result for this photo.

    """
    image = Image.fromarray(pixels)
    unit = max(image.size) / 800
    draw = ImageDraw.Draw(image)
    line_width = max(1, round(3 * unit))
    taken: list[_Rectangle] = []
    legend: list[str] = []
    for face in identification.faces:
        x, y, width, height = face.face.box
        draw.rectangle((x, y, x + width, y + height), outline=_colour(face), width=line_width)
    for face in identification.faces:
        for label in _fitting(_label_texts(face, legend), round(16 * unit), line_width, image.width):
            place = _free_place(label, face.face.box, image.size, taken)
            if place is not None:
                taken.append(place)
                _draw(draw, label, place, _colour(face))
                break
    return Annotated(image, tuple(dict.fromkeys(legend)))


def _colour(face: IdentifiedFace) -> tuple[int, int, int]:
    return _IDENTIFIED_COLOUR if face.identified else _UNKNOWN_COLOUR


def _label_texts(face: IdentifiedFace, legend: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of possible labels, the best first. The last ones put the name into the legend."""
    if not face.matches:
        yield ("unknown",)
        return
    match = face.matches[0]
    similarity = f"{match.similarity:.2f}"
    yield from _in_lines(match.name, similarity)
    number = f"user {match.user_id}"
    legend.append(f"{number}: {match.name}")
    yield from ((f"{number}  {similarity}",), (number, similarity), (str(match.user_id),))


def _in_lines(name: str, similarity: str) -> Iterator[tuple[str, ...]]:
    """Yield a name and its similarity in one line, and in more lines, broken between words."""
    words = unicodedata.normalize("NFC", name).split()
    if not runs_from_right(name):
        yield (f"{' '.join(words)}  {similarity}",)
    yield (" ".join(words), similarity)
    for count in _NAME_LINES:
        if len(words) >= count:
            yield (*_balanced(words, count), similarity)


def _balanced(words: Sequence[str], count: int) -> Iterator[str]:
    """Split words into a number of lines of about the same length."""
    left = list(words)
    for lines in range(count, 0, -1):
        wanted = sum(map(len, left)) / lines
        taken = 1
        while len(left) - taken >= lines and sum(map(len, left[: taken + 1])) <= wanted:
            taken += 1
        yield " ".join(left[:taken])
        left = left[taken:]


def _fitting(texts: Iterable[tuple[str, ...]], size: int, line_width: int, max_width: int) -> Iterator[_Label]:
    """Yield the largest label for each choice of lines that is not wider than the picture."""
    for lines in texts:
        for share in _LABEL_SIZES:
            label = _measured(lines, max(_MIN_LETTER_SIZE, round(size * share)), line_width)
            if label is not None and label.width <= max_width:
                yield label
                break


def _measured(texts: tuple[str, ...], size: int, line_width: int) -> _Label | None:
    """Return a label, or None if no font has its letters."""
    lines = [_with_fonts(text, size) for text in texts]
    found = tuple(line for line in lines if line is not None)
    return _Label(found, max(2, 2 * line_width)) if len(found) == len(texts) else None


def _with_fonts(text: str, size: int) -> _Line | None:
    """Choose one font for a text, or else one for each word. None if no font has the letters of a word."""
    whole = font_for(text, size)
    if whole is not None:
        return _Line(((text, whole),))
    space, pieces = font_for(" ", size), []
    for word in text.split():
        font = font_for(word, size)
        if font is None or space is None:
            return None
        pieces += [(" ", space), (word, font)]
    ordered = pieces[1:]
    return _Line(tuple(reversed(ordered) if runs_from_right(text) else ordered))


def _free_place(label: _Label, box: Box, picture: tuple[int, int], taken: Sequence[_Rectangle]) -> _Rectangle | None:
    """Find a place for a label: above its face, inside, below, or as near as possible, without covering another."""
    width, height = picture
    if label.width > width or label.height > height:
        return None
    tops_at_face = [box.y - label.height, box.y, box.y + box.height, box.y + box.height - label.height]
    steps = [top * label.height / 2 for top in range(int(2 * height / label.height) + 1)]
    tops = [*tops_at_face, *sorted(steps, key=lambda top: abs(top - box.y))]
    right = box.x + box.width - label.width
    lefts = [
        max(0.0, min(left, width - label.width)) for left in (box.x, right, box.x + box.width, box.x - label.width)
    ]
    for left, top in ((left, top) for top in tops for left in lefts if 0 <= top <= height - label.height):
        place = _Rectangle(left, top, left + label.width, top + label.height)
        if not any(place.overlaps(other) for other in taken):
            return place
    return None


def _draw(draw: ImageDraw.ImageDraw, label: _Label, place: _Rectangle, colour: tuple[int, int, int]) -> None:
    draw.rectangle(place, fill=colour)
    top = place.top + label.margin
    for line in label.lines:
        left = place.left + label.margin
        if runs_from_right("".join(text for text, _ in line.pieces)):
            left = place.right - label.margin - line.width
        for text, font in line.pieces:
            draw.text((left, top + line.ascent), text, fill="white", font=font, anchor="ls")
            left += font.getlength(text)
        top += line.height
