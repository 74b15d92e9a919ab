"""English and Indonesian: which one a browser wants, and the words of each.

Messages are English in templates and code; `id.po` holds their translations (GNU gettext's format, read by Babel).
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final, Literal

from babel.messages.pofile import read_po
from fastapi import Request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

Language = Literal["en", "id"]
NAMES: Final[dict[Language, str]] = {"en": "English", "id": "Bahasa Indonesia"}
COOKIE: Final = "pgface_language"


def language_of(request: Request) -> Language:
    """What the switch was set to; what the browser asks for; English."""
    chosen = request.cookies.get(COOKIE)
    if chosen is None:
        asked = parse_accept_header(request.headers.get("accept-language", ""), LanguageAccept)
        chosen = asked.best_match(list(NAMES))
    return "id" if chosen == "id" else "en"


def translate(language: Language, message: str) -> str:
    """A message in a language; in English where it has no translation."""
    return message if language == "en" else _catalog(language).get(message, message)


def N_(message: str) -> str:  # noqa: N802 - as gettext's users call it
    """Mark a message that is translated later, where it is shown."""
    return message


@cache
def _catalog(language: Language) -> dict[str, str]:
    with (resources.files(__name__) / f"{language}.po").open("rb") as file:
        return {str(entry.id): str(entry.string) for entry in read_po(file, locale=language) if entry.string}
