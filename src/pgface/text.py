"""Names and e-mails in the one form in which pgface stores, compares and shows them.

Keyboards, macOS folders and web forms write the same word in different bytes. Texts that look the same must be equal,
and invisible characters must not make a difference.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""ZWNJ and ZWJ. Persian, Indic scripts and emoji need them."""
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))
"""Soft hyphen, direction marks, zero-width space, word joiner, byte order mark. They are often copied with a text."""


def cleaned(text: str) -> str:
    """Return a text in Unicode's form NFC, without invisible characters, with plain spaces, and stripped.

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
    """Whether a cleaned text has no control characters, no direction overrides, and no bytes that are not text."""
    return all(map(_is_visible, text))


def same_email(email: str) -> str:
    """Return the form of an e-mail that is compared: cleaned, and in lower case."""
    return unicodedata.normalize("NFC", cleaned(email).lower())


def email_spellings(email: str) -> list[str]:
    """Return the forms of an e-mail that other programs may have written into the table, in lower case."""
    composed = same_email(email)
    return list(dict.fromkeys((composed, unicodedata.normalize("NFD", composed))))


def same_name(name: str) -> str:
    """Return the form of a name that is compared: cleaned, in lower case, with spaces for underscores."""
    return unicodedata.normalize("NFC", " ".join(cleaned(name).lower().replace("_", " ").split()))


def name_spellings(name: str) -> list[str]:
    """Return the forms in which the table may hold a name, or hold it in lower case."""
    plain = " ".join(cleaned(name).replace("_", " ").split())
    cased = (same_name(name), plain, plain.title(), plain.upper())
    return list(dict.fromkeys(unicodedata.normalize(form, text) for text in cased for form in ("NFC", "NFD")))


def shown(text: str) -> str:
    """Return a text that is safe to print. Characters that control a terminal are replaced by U+FFFD."""
    return "".join(sign if _is_visible(sign) else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _is_visible(sign: str) -> bool:
    return sign in _JOINERS or sign.isprintable() or unicodedata.category(sign) == "Zs"
