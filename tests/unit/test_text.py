"""Names and e-mails of real people, typed on any keyboard."""

from __future__ import annotations

import unicodedata

import pytest

from pgface.errors import GalleryError
from pgface.gallery.users import clean_email, clean_name
from pgface.text import cleaned, email_spellings, is_visible, same_email, shown

NAMES = (
    "山田\u3000太郎",  # the space character of Japanese keyboards
    "می\u200cرا",  # noqa: RUF001 - Persian, with a zero-width non-joiner
    "क्\u200dष",  # Devanagari, with a zero-width joiner
    "José Ñandú",
    "Łukasz Żółć",
    "สมชาย ใจดี",
    "Jean\u00a0Dupont",  # a no-break space
    "O'Brien-Smith Jr.",
    "👩\u200d🔬 Ada",
)


@pytest.mark.parametrize("name", NAMES)
def test_real_names_are_accepted(name: str) -> None:
    kept = clean_name(name)
    assert kept == clean_name(unicodedata.normalize("NFD", name)) == clean_name(kept)
    assert shown(kept) == kept
    assert [sign for sign in kept if sign in "\u200c\u200d"] == [sign for sign in name if sign in "\u200c\u200d"]


def test_spaces_become_plain_and_invisible_characters_are_removed() -> None:
    assert cleaned("\u2003山田\u3000太郎\u00a0") == "山田 太郎"
    assert cleaned("\ufeffAda\u200b Love\u00adlace\u200f") == "Ada Lovelace"


@pytest.mark.parametrize(
    "name",
    ["Ada\x1b[31m", "Ada\nLovelace", "a\0b", "Ada\u202eecalevoL", "Ada\u2066x\u2069", "Ada\x7f", "\ud800", "x\u2028y"],
)
def test_control_characters_and_direction_overrides_are_refused(name: str) -> None:
    with pytest.raises(GalleryError):
        clean_name(name)
    assert not is_visible(cleaned(name))
    assert "\N{REPLACEMENT CHARACTER}" in shown(name)


def test_emails_that_look_the_same_are_equal() -> None:
    composed, decomposed = "zo\u00e9@example.org", "zoe\u0301@example.org"
    assert clean_email(decomposed) == clean_email(composed) == same_email(" ZO\u00c9@Example.org\u00a0") == composed
    assert email_spellings(decomposed) == [composed, decomposed]
    assert email_spellings("ada@example.org") == ["ada@example.org"]
