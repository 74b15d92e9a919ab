"""English and Indonesian: the language of a browser, and translations.

Messages are English in templates and code. `id.po` has their translations (the format of GNU gettext, read by Babel).
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
    """The language of the cookie, else of the browser, else English."""
    chosen = request.cookies.get(COOKIE)
    if chosen is None:
        asked = parse_accept_header(request.headers.get("accept-language", ""), LanguageAccept)
        chosen = asked.best_match(list(NAMES))
    return "id" if chosen == "id" else "en"


def translate(language: Language, message: str) -> str:
    """A message in a language, or in English if it has no translation."""
    return message if language == "en" else _catalog(language).get(message, message)


def N_(message: str) -> str:  # noqa: N802 - the name that gettext's tools know
    """Mark a message that is translated later, when it is shown."""
    return message


@cache
def _catalog(language: Language) -> dict[str, str]:
    with (resources.files(__name__) / f"{language}.po").open("rb") as file:
        return {str(entry.id): str(entry.string) for entry in read_po(file, locale=language) if entry.string}
