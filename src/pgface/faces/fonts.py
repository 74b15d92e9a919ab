"""Fonts for names in any script: those of packages that pgface knows, and then those of the machine.

A font says with a box that it lacks a letter. So a text is drawn in the first font that has all its letters, and not at
all where no font has them: then the caller shows something else in its place.
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
_KINDS: Final = (".ttf", ".otf", ".ttc")
_MOST_FONTS: Final = 2_000
_NO_LETTER: Final = "\uffff"
"""Of no script, so that every font draws its box."""
_STYLES: Final = ("italic", "oblique", "bold", "black", "light", "thin", "mono", "condensed", "narrow", "symbol")
_UNSEEN: Final = {"Cf", "Zs", "Cc"}
"""Categories of what is not drawn."""
_ORDERED_OTHERWISE: Final = {"R", "AL", "AN"}
"""Bidirectional classes of scripts that run from right to left."""
_SHAPED: Final = {"Mn", "Mc"}
"""Categories of marks that change or move the letters beside them."""


@cache
def font_for(text: str, size: int) -> Font | None:
    """A font that has every letter of a text.

    Args:
        text: in Unicode's form NFC.
        size: in pixels.

    Returns:
        The first such font; None if there is none, or if Pillow was built without the layout that the script needs.

    """
    letters = frozenset(sign for sign in text if unicodedata.category(sign) not in _UNSEEN)
    if not _can_be_laid_out(text):
        return None
    return next((_opened(file, size) for file in _font_files() if _has(file, letters)), None)


def runs_from_right(text: str) -> bool:
    """Whether a text begins at the right: its first letter with a direction is of such a script (UAX #9, P2 and P3)."""
    strong = (unicodedata.bidirectional(sign) for sign in text)
    return next((direction in ("R", "AL") for direction in strong if direction in ("L", "R", "AL")), False)


def _can_be_laid_out(text: str) -> bool:
    """Letters of Arabic join, marks of Indic scripts move: that takes Raqm, which Pillow's wheels bring."""
    if features.check("raqm"):
        return True
    return not any(
        unicodedata.bidirectional(sign) in _ORDERED_OTHERWISE or unicodedata.category(sign) in _SHAPED for sign in text
    )


def _has(file: Path, letters: frozenset[str]) -> bool:
    font = _opened(file, 20)
    return font is not None and all(_draws(file, letter) for letter in letters)


@cache
def _draws(file: Path, letter: str) -> bool:
    font = _opened(file, 20)
    assert font is not None  # noqa: S101 - the caller's
    return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


@cache
def _opened(file: Path, size: int) -> Font | None:
    try:
        font = ImageFont.truetype(file, size)
        one, other, none = (bytes(font.getmask(letter)) for letter in ("b", "c", _NO_LETTER))
    except (OSError, ValueError):  # damaged, or of a kind that FreeType does not read
        return None
    # A font of last resort draws the name of a script in place of each of its letters.
    return None if one == other != none else font


@cache
def _font_files() -> tuple[Path, ...]:
    """The best first; found once in a process."""
    return tuple(dict.fromkeys((*_of_packages(), *sorted(islice(_of_machine(), _MOST_FONTS), key=_rank))))


def _of_packages() -> Iterator[Path]:
    for package in _PACKAGES:
        try:
            found = [Path(str(file.locate())) for file in files(package) or ()]
        except PackageNotFoundError:
            continue
        yield from sorted((file for file in found if file.suffix in _KINDS), key=_rank)


def _of_machine() -> Iterator[Path]:
    for folder in _font_folders():
        for place, _, names in os.walk(folder, onerror=None):
            yield from (Path(place, name) for name in sorted(names) if name.lower().endswith(_KINDS))


def _font_folders() -> Iterator[Path]:
    """As fontconfig, macOS and Windows keep them, and what matplotlib brings."""
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
    """Upright and regular first, and of these the sans serif ones that have the most letters."""
    name = file.stem.lower()
    return sum(style in name for style in _STYLES), not name.startswith(("notosans", "dejavusans")), str(file)
