"""The languages of the pages: English and Indonesian.

The messages in templates and code are English. `id.po` has the translations (the format of GNU gettext, read by Babel).
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
    """Return the language of the cookie. By default it is the browser's language, or English."""
    chosen = request.cookies.get(COOKIE)
    if chosen is None:
        accepted = parse_accept_header(request.headers.get("accept-language", ""), LanguageAccept)
        chosen = accepted.best_match(list(NAMES))
    return "id" if chosen == "id" else "en"


def translate(language: Language, message: str) -> str:
    """Translate a message. A message without a translation stays English."""
    return message if language == "en" else _catalog(language).get(message, message)


def N_(message: str) -> str:  # noqa: N802 - the name that gettext's tools know
    """Mark a message that is translated when it is shown."""
    return message


@cache
def _catalog(language: Language) -> dict[str, str]:
    with (resources.files(__name__) / f"{language}.po").open("rb") as file:
        return {str(entry.id): str(entry.string) for entry in read_po(file, locale=language) if entry.string}
