"""The form in which pgface stores, compares and shows names and e-mails.

Keyboards, macOS folders and web forms encode the same word in different bytes. Texts that look the same must be equal,
so pgface normalizes them and removes invisible characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""ZWNJ and ZWJ. Persian, Indic scripts and emoji need them."""
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))
"""Soft hyphen, direction marks, zero-width space, word joiner and byte order mark: often copied with a text."""


def cleaned(text: str) -> str:
    """Return a text in Unicode's form NFC, stripped, with plain spaces and without invisible characters.

    Source: Unicode Standard Annex #15 (NFC), and general category Zs for spaces.
    """
    composed = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    return "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in composed).strip()


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return a number with its noun, such as "1 photo", "0 photos" or "1,200 photos".

    Args:
        number: the number.
        one: the text after the number 1. It may be more than a noun, such as "photo is".
        more: the text after any other number. The default is `one` with an s.

    """
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def is_visible(text: str) -> bool:
    """Whether a cleaned text contains no control characters, direction overrides or undecodable bytes."""
    return all(map(_is_visible, text))


def same_email(email: str) -> str:
    """Return an e-mail in the form in which e-mails are compared: cleaned and in lower case."""
    return unicodedata.normalize("NFC", cleaned(email).lower())


def email_spellings(email: str) -> list[str]:
    """Return the forms of an e-mail, in lower case, that other programs may have written into the table."""
    composed = same_email(email)
    return list(dict.fromkeys((composed, unicodedata.normalize("NFD", composed))))


def same_name(name: str) -> str:
    """Return a name in the form in which names are compared: cleaned, in lower case, with spaces for underscores."""
    return unicodedata.normalize("NFC", " ".join(cleaned(name).lower().replace("_", " ").split()))


def name_spellings(name: str) -> list[str]:
    """Return the forms of a name that the table may contain, as they are or in lower case."""
    plain = " ".join(cleaned(name).replace("_", " ").split())
    cased = (same_name(name), plain, plain.title(), plain.upper())
    return list(dict.fromkeys(unicodedata.normalize(form, text) for text in cased for form in ("NFC", "NFD")))


def shown(text: str) -> str:
    """Return a text that is safe to print. Characters that control a terminal are replaced by U+FFFD."""
    return "".join(sign if _is_visible(sign) else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _is_visible(sign: str) -> bool:
    return sign in _JOINERS or sign.isprintable() or unicodedata.category(sign) == "Zs"


def runs_on(runtimes: Mapping[str, str]) -> str:
    """Say in a line what runs each step of an engine, once if all are the same."""
    if len(set(runtimes.values())) == 1:
        return next(iter(runtimes.values()))
    return ", ".join(f"{step}: {runtime}" for step, runtime in runtimes.items())
