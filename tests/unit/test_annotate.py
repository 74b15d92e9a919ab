"""Names on annotated pictures: in any script, complete, inside the picture, and without overlap."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from pgface.faces import annotate as module
from pgface.faces import fonts
from pgface.faces.annotate import Annotated, annotate
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.quality import describe
from pgface.results import Identification, IdentifiedFace, Match

_LANDMARKS = np.array([(30, 30), (50, 30), (40, 42), (32, 55), (48, 55)], np.float32)

EUROPEAN = ["José Ñandú", "Müller", "Łukasz Żółć", "Zoë", "Ελένη", "Мария", "Siti", "Nguyễn Văn Đạt"]
OTHERS = ["王小明", "山田 太郎", "김철수", "محمد بن سلمان", "สมชาย ใจดี", "क्षत्रिय", "José 王小明"]
OTHERS.append("می\u200cرا")  # noqa: RUF001 - Persian, with a zero-width non-joiner


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ImageFont.FreeTypeFont, tuple[float, float]]]:
    """Record the drawn texts, with their fonts and places."""
    texts: list[tuple[str, ImageFont.FreeTypeFont, tuple[float, float]]] = []
    write = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, **how: object) -> None:
        assert isinstance(how["font"], ImageFont.FreeTypeFont)
        texts.append((text, how["font"], xy))
        write(self, xy, text, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[module._Rectangle]:
    """Record the places of labels."""
    found: list[module._Rectangle] = []
    draw = module._draw

    def note(
        on: ImageDraw.ImageDraw, label: module._Label, place: module._Rectangle, colour: tuple[int, int, int]
    ) -> None:
        found.append(place)
        draw(on, label, place, colour)

    monkeypatch.setattr(module, "_draw", note)
    return found


def annotated(names: list[str | None], boxes: list[Box], size: tuple[int, int] = (640, 480)) -> Annotated:
    pixels = np.full((size[1], size[0], 3), 110, np.uint8)
    found = [describe(pixels, [RawDetection(box, _LANDMARKS, 0.9)])[0] for box in boxes]
    faces = [
        IdentifiedFace(face, () if name is None else (Match(number, name, "x@example.org", 0.56, number),))
        for number, (face, name) in enumerate(zip(found, names, strict=True), start=1)
    ]
    return annotate(pixels, Identification("x.jpg", "model", 0.4, 0.4, tuple(faces), len(faces)))


def is_box(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    return bytes(font.getmask(letter)) == bytes(font.getmask("\uffff"))


@pytest.mark.parametrize("name", EUROPEAN + OTHERS)
def test_no_letter_is_a_box(name: str, drawn: list[tuple[str, ImageFont.FreeTypeFont, tuple[float, float]]]) -> None:
    picture = annotated([name], [Box(200, 200, 100, 130)])
    assert picture.legend == ()
    assert [
        letter for text, font, _ in drawn for letter in text if letter not in " \u200c" and is_box(font, letter)
    ] == []
    written = "".join(text for text, _, _ in drawn).replace(" ", "")
    assert all(word in written for word in name.split())


def test_letters_that_join_and_move_are_laid_out() -> None:
    """Without Raqm, Pillow draws letter by letter, with another length."""
    for text in ("محمد", "क्ष"):
        font = fonts.font_for(text, 40)
        assert font is not None
        by_letters = ImageFont.truetype(font.path, 40, layout_engine=ImageFont.Layout.BASIC)
        assert font.getlength(text) != by_letters.getlength(text)


def test_a_name_that_no_font_has_becomes_a_number_and_a_legend(
    monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[str, ImageFont.FreeTypeFont, tuple[float, float]]]
) -> None:
    only_latin = [file for file in fonts._font_files() if file.name.startswith("NotoSans[")]
    assert only_latin
    monkeypatch.setattr(fonts, "_font_files", lambda: tuple(only_latin))
    fonts.font_for.cache_clear()
    try:
        picture = annotated(["Ada", "王小明"], [Box(50, 100, 90, 120), Box(300, 100, 90, 120)])
    finally:
        fonts.font_for.cache_clear()
    assert picture.legend == ("user 2: 王小明",)
    assert [text for text, _, _ in drawn] == ["Ada  0.56", "user 2  0.56"]


def test_without_raqm_names_that_need_it_become_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    fonts.font_for.cache_clear()
    try:
        assert annotated(["محمد"], [Box(50, 100, 90, 120)]).legend == ("user 1: محمد",)
        assert annotated(["José"], [Box(50, 100, 90, 120)]).legend == ()
    finally:
        fonts.font_for.cache_clear()


def test_fonts_of_last_resort_and_damaged_fonts_are_not_used(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "LastResortHE-Regular.ttf")
    if not file.is_file():
        pytest.skip("this matplotlib does not contain such a font")
    assert fonts._open_font(file, 20) is None
    (tmp_path / "damaged.ttf").write_bytes(b"\0\1\0\0" + bytes(40))
    assert fonts._open_font(tmp_path / "damaged.ttf", 20) is None


LONG = "Maximiliana Anastasia Featherstonehaugh-Cholmondeley von Hohenzollern"


@pytest.mark.parametrize("size", [(640, 480), (250, 250), (120, 160), (2_000, 1_500), (40, 40)])
def test_names_stay_whole_and_inside(
    size: tuple[int, int],
    drawn: list[tuple[str, ImageFont.FreeTypeFont, tuple[float, float]]],
    places: list[module._Rectangle],
) -> None:
    width, height = size
    edge = [Box(width * x, height * y, width / 5, height / 4) for x, y in ((0, 0), (0.8, 0), (0, 0.75), (0.8, 0.75))]
    picture = annotated([LONG, "José Ñandú", None, "Łukasz Żółć"], edge, size)
    for place in places:
        assert place.left >= 0
        assert place.top >= 0
        assert place.right <= width
        assert place.bottom <= height
    for text, font, (left, baseline) in drawn:
        ink = font.getbbox(text, anchor="ls")
        assert left + ink[0] >= 0
        assert left + ink[2] <= width
        assert baseline + ink[1] >= 0
        assert baseline + ink[3] <= height
    words = {word for text, _, _ in drawn for word in text.split()}
    known = {*LONG.split(), *["José", "Ñandú", "Łukasz", "Żółć", "unknown", "user", "0.56", "1", "2", "4"]}
    assert words <= known  # no piece of a word
    visible = " ".join((*words, *picture.legend))
    assert all(word in visible for word in LONG.split())


@pytest.mark.parametrize("apart", [10, 30, 60])
def test_labels_do_not_overlap(apart: int, places: list[module._Rectangle]) -> None:
    boxes = [Box(20 + apart * number, 100 + 3 * number, 80, 100) for number in range(6)]
    annotated([LONG, "José Ñandú", "王小明", None, "Łukasz Żółć", "Ada Lovelace"], boxes)
    assert len(places) == 6
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))


def test_the_box_and_the_name_are_on_the_picture() -> None:
    picture = annotated(["Ada"], [Box(200, 200, 100, 130)]).image
    assert isinstance(picture, Image.Image)
    assert picture.getpixel((200, 200)) == (22, 130, 70)
    white = np.asarray(picture)[150:200, 200:320].min(axis=2) > 240
    assert white.sum() > 30


def test_the_base_package_draws_european_names_where_a_machine_has_no_fonts(tmp_path: Path) -> None:
    program = f"""
from pgface.faces import fonts
fonts._of_machine = lambda: iter(())
fonts._PACKAGES = fonts._PACKAGES[:1]
assert len(fonts._font_files()) == 2, fonts._font_files()  # upright and italic
print([name for name in {EUROPEAN!r} if fonts.font_for(name, 20) is None])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
