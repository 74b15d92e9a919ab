"""What other systems know about people: an external id, labels and metadata. pgface checks them and searches by them.

>>> from pgface.gallery.attributes import Attributes
>>> Attributes.cleaned(external_id="emp-17", labels=["staff", "night shift", "staff"])
Attributes(external_id='emp-17', labels=('night shift', 'staff'), metadata={})

"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

from pgface.errors import GalleryError
from pgface.text import cleaned, is_visible

MAX_EXTERNAL_ID_CHARACTERS: Final = 255
MAX_LABELS: Final = 32
MAX_LABEL_CHARACTERS: Final = 64
MAX_METADATA_BYTES: Final = 8_192
"""The size of metadata as PostgreSQL writes it: UTF-8, with a space after each comma and colon."""
_MAX_DEPTH: Final = 8
_MAX_KEY_CHARACTERS: Final = 128
_MAX_NUMBER: Final = 2**53
"""Programs that read JSON numbers as doubles change larger ones (RFC 8259, section 6)."""


@dataclass(frozen=True, slots=True)
class ExternalId:
    """The id that another system gave to a user. Methods accept it in place of an id, e-mail or name.

    >>> from pgface import ExternalId
    >>> ExternalId("emp-17")
    ExternalId(value='emp-17')

    """

    value: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """The external id, the labels and the metadata of a user, in the form in which the gallery stores them."""

    external_id: str | None = None
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def cleaned(
        cls,
        *,
        external_id: str | None = None,
        labels: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """Check and clean the values. An empty external id means none.

        Raises:
            GalleryError: one of them cannot be used. The message says what is wrong, without the value.

        """
        return cls(
            clean_external_id(external_id) if external_id else None,
            clean_labels(labels or ()),
            clean_metadata({} if metadata is None else metadata),
        )


def clean_external_id(external_id: str) -> str:
    """Return an external id as the gallery stores it: as given, in Unicode's form NFC.

    Raises:
        GalleryError: it has no or too many characters, control characters, or spaces at its ends.

    """
    kept = unicodedata.normalize("NFC", external_id)
    if not 0 < len(kept) <= MAX_EXTERNAL_ID_CHARACTERS or cleaned(kept) != kept or not is_visible(kept):
        raise GalleryError(
            f"An external id must have 1 to {MAX_EXTERNAL_ID_CHARACTERS} printable characters, without spaces at its "
            "ends."
        )
    return kept


def clean_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels as the gallery stores them: cleaned like names, sorted, each once. Case matters.

    Raises:
        GalleryError: there are more than 32 labels, or one of them is not 1 to 64 printable characters.

    """
    if isinstance(labels, str):
        raise GalleryError("Give a list of labels, such as ['staff'], not a text.")
    kept = set()
    for label in labels:
        text = cleaned(label) if isinstance(label, str) else ""
        if not 0 < len(text) <= MAX_LABEL_CHARACTERS or not is_visible(text):
            raise GalleryError(f"A label must have 1 to {MAX_LABEL_CHARACTERS} printable characters.")
        kept.add(text)
    if len(kept) > MAX_LABELS:
        raise GalleryError(f"A user can have at most {MAX_LABELS} labels, got {len(kept)}.")
    return tuple(sorted(kept))


def clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as a JSON object that PostgreSQL's `jsonb` stores without a change.

    Raises:
        GalleryError: it is not an object, too large or too deep, or contains a value that cannot be stored: zero bytes,
            halves of surrogate pairs, NaN, infinity, numbers of 2^53 or more, or values that are not JSON.

    """
    if not isinstance(metadata, Mapping):
        raise GalleryError('Metadata must be a JSON object, such as {"room": 12}.')
    expanded = _expanded_bytes(metadata, 1)
    kept: dict[str, Any] = json.loads(text := json.dumps(metadata, ensure_ascii=False, default=dict))
    size = len(text.encode()) + expanded
    if size > MAX_METADATA_BYTES:
        raise GalleryError(f"Metadata can have at most {MAX_METADATA_BYTES:,} bytes as JSON, got {size:,}.")
    return kept


def _expanded_bytes(value: Any, depth: int) -> int:
    """Check a value. Return how many bytes PostgreSQL adds to its numbers, because it writes them without exponents."""
    if value is None or isinstance(value, bool):
        return 0
    if isinstance(value, str):
        _require_text(value)
        return 0
    if isinstance(value, int | float):
        if not -_MAX_NUMBER < value < _MAX_NUMBER:  # NaN is not between them either
            raise GalleryError("A number in metadata must be finite and below 2^53. Store a larger one as text.")
        return 0 if isinstance(value, int) else len(format(Decimal(repr(value)), "f")) - len(repr(value))
    if not isinstance(value, Mapping | list | tuple):
        raise GalleryError(f"Metadata contains a value of type {type(value).__name__}, which is not JSON.")
    if depth > _MAX_DEPTH:
        raise GalleryError(f"Metadata can have at most {_MAX_DEPTH} levels of objects and lists.")
    if not isinstance(value, Mapping):
        return sum(_expanded_bytes(one, depth + 1) for one in value)
    for key in value:
        if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARACTERS:
            raise GalleryError(f"A key in metadata must be a text of 1 to {_MAX_KEY_CHARACTERS} characters.")
        _require_text(key)
    return sum(_expanded_bytes(one, depth + 1) for one in value.values())


def _require_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise GalleryError(
            "Metadata contains a zero byte or half of a surrogate pair (\\u0000, \\ud800 to \\udfff), which PostgreSQL "
            "cannot store."
        )
