"""Names and e-mails in the one form in which pgface keeps, compares and shows them, and numbers of things.

A keyboard, a folder of macOS and a form of the web write the same word in different bytes. What looks the same must be
the same, and what cannot be seen must not make a difference.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""ZWNJ and ZWJ: Persian, Indic scripts and emoji need them."""
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))
"""Soft hyphen, direction marks, zero-width space, word joiner, byte order mark: they come along when text is copied."""


def cleaned(text: str) -> str:
    """A text in Unicode's form NFC, with plain spaces, and without invisible characters and white space at its ends.

    Source: Unicode Standard Annex #15 (NFC); general category Zs for spaces.
    """
    composed = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    return "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in composed).strip()


def counted(number: int, one: str, more: str | None = None) -> str:
    """A number with what is counted, such as "1 photo", "0 photos" or "1,200 photos".

    Args:
        number: how many there are.
        one: what follows the number 1; it may be more than a noun, such as "photo is".
        more: what follows any other number; `one` with an s if not given.

    """
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def is_visible(text: str) -> bool:
    """Whether a cleaned text is free of control characters, direction overrides, and bytes that are not text."""
    return all(map(_is_visible, text))


def same_email(email: str) -> str:
    """What two e-mails have in common if they are the same: cleaned, and in lower case."""
    return unicodedata.normalize("NFC", cleaned(email).lower())


def email_spellings(email: str) -> list[str]:
    """The forms in which other programs may have written an e-mail into the table, in lower case."""
    composed = same_email(email)
    return list(dict.fromkeys((composed, unicodedata.normalize("NFD", composed))))


def same_name(name: str) -> str:
    """What two names have in common if they are the same: cleaned, in lower case, and with a space for underscores."""
    return unicodedata.normalize("NFC", " ".join(cleaned(name).lower().replace("_", " ").split()))


def name_spellings(name: str) -> list[str]:
    """The forms in which a name may stand in the table, or in lower case there."""
    plain = " ".join(cleaned(name).replace("_", " ").split())
    cased = (same_name(name), plain, plain.title(), plain.upper())
    return list(dict.fromkeys(unicodedata.normalize(form, text) for text in cased for form in ("NFC", "NFD")))


def shown(text: str) -> str:
    """A text without what would command a terminal: such characters are replaced by U+FFFD."""
    return "".join(sign if _is_visible(sign) else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _is_visible(sign: str) -> bool:
    return sign in _JOINERS or sign.isprintable() or unicodedata.category(sign) == "Zs"
