"""Find fonts for names in any script: first in font packages, then on the machine.

A font draws a box for a letter that it does not have. So a text is drawn in the first font that has all its letters. If
no font has them, the caller shows something else.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont

_PACKAGES: Final = (
    "fontpkg-noto-sans",
    "fontpkg-noto-sans-arabic",
    "fontpkg-noto-sans-devanagari",
    "fontpkg-noto-sans-thai",
    "noto-cjk-sans-jp-regular",
)
"""Noto Sans, under the SIL Open Font License. The first one is always installed, the others by `pgface[fonts]`."""
_SUFFIXES: Final = (".ttf", ".otf", ".ttc")
_MAX_FONTS: Final = 2_000
_NO_LETTER: Final = "\uffff"
"""A code point without a letter. Every font draws its box for it."""
_STYLES: Final = ("italic", "oblique", "bold", "black", "light", "thin", "mono", "condensed", "narrow", "symbol")
_INVISIBLE: Final = {"Cf", "Zs", "Cc"}
"""Unicode categories of invisible characters."""
_RIGHT_TO_LEFT: Final = {"R", "AL", "AN"}
"""Bidirectional classes of scripts that run from right to left."""
_COMBINING: Final = {"Mn", "Mc"}
"""Unicode categories of marks that change or move the letters beside them."""


@cache
def font_for(text: str, size: int) -> Font | None:
    """Find a font that has every letter of a text.

    Args:
        text: the text in Unicode's form NFC.
        size: the size of the letters in pixels.

    Returns:
        The first such font. None if no font has them, or if Pillow was built without the layout engine of the script.

    """
    letters = frozenset(sign for sign in text if unicodedata.category(sign) not in _INVISIBLE)
    if not _can_be_laid_out(text):
        return None
    with_letters = (file for file in _font_files() if all(_draws_letter(file, letter) for letter in letters))
    return next((font for file in with_letters if (font := _open_font(file, size))), None)


def runs_from_right(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left (UAX #9, P2 and P3)."""
    strong = (unicodedata.bidirectional(sign) for sign in text)
    return next((direction in ("R", "AL") for direction in strong if direction in ("L", "R", "AL")), False)


def _can_be_laid_out(text: str) -> bool:
    """Whether Pillow can lay out a text. Arabic letters and Indic marks need Raqm, which Pillow's wheels contain."""
    if features.check("raqm"):
        return True
    return not any(
        unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT or unicodedata.category(sign) in _COMBINING for sign in text
    )


@cache
def _draws_letter(file: Path, letter: str) -> bool:
    font = _open_font(file, 20)
    return font is not None and bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


@cache
def _open_font(file: Path, size: int) -> Font | None:
    try:
        font = ImageFont.truetype(file, size)
        one, other, none = (bytes(font.getmask(letter)) for letter in ("b", "c", _NO_LETTER))
    except (OSError, ValueError):  # damaged, or of a kind that FreeType cannot read
        return None
    # A font of last resort draws the same sign for all letters of a script.
    return None if one == other != none else font


@cache
def _font_files() -> tuple[Path, ...]:
    """List the font files, the best first. A process searches for them once."""
    return tuple(dict.fromkeys((*_of_packages(), *sorted(islice(_of_machine(), _MAX_FONTS), key=_rank))))


def _of_packages() -> Iterator[Path]:
    for package in _PACKAGES:
        try:
            found = [Path(str(file.locate())) for file in files(package) or ()]
        except PackageNotFoundError:
            continue
        yield from sorted((file for file in found if file.suffix in _SUFFIXES), key=_rank)


def _of_machine() -> Iterator[Path]:
    for folder in _font_folders():
        for place, _, names in os.walk(folder, onerror=None):
            yield from (Path(place, name) for name in sorted(names) if name.lower().endswith(_SUFFIXES))


def _font_folders() -> Iterator[Path]:
    """List the font folders of fontconfig, macOS, Windows and matplotlib."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    shared = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    yield from (Path(folder, "fonts") for folder in (*shared, home) if os.path.isabs(folder))
    yield Path(os.path.expanduser("~/.fonts"))
    if sys.platform == "darwin":
        yield from map(Path, ("/System/Library/Fonts", "/Library/Fonts", os.path.expanduser("~/Library/Fonts")))
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        yield Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"


def _rank(file: Path) -> tuple[int, bool, str]:
    """Return a key that sorts upright and regular fonts first, and among them the sans serif ones with most letters."""
    name = file.stem.lower()
    return sum(style in name for style in _STYLES), not name.startswith(("notosans", "dejavusans")), str(file)
