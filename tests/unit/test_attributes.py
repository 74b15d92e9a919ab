"""External ids, labels and metadata: what is accepted, and in which form it is stored."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import pytest

from pgface.errors import GalleryError
from pgface.gallery.attributes import Attributes, clean_external_id, clean_labels, clean_metadata
from support.sentences import gallery as says


@pytest.mark.parametrize("given", ["7", "x" * 255, "Emp-17", "a b", "ключ", "日本"])
def test_an_external_id_stays_as_it_is(given: str) -> None:
    assert clean_external_id(given) == given


def test_an_external_id_is_composed() -> None:
    assert clean_external_id(unicodedata.normalize("NFD", "José")) == "José"


@pytest.mark.parametrize("given", ["", "x" * 256, " a", "a ", "a\n", "a\0b", "a\u202eb", "a\u200bb", "\ud800"])
def test_an_external_id_is_printable(given: str) -> None:
    with pytest.raises(GalleryError, match=says.NOT_AN_EXTERNAL_ID.pattern()):
        clean_external_id(given)


def test_labels_are_cleaned_sorted_and_unique() -> None:
    decomposed = unicodedata.normalize("NFD", "équipe")
    assert clean_labels([" staff ", "équipe", decomposed, "Staff", "night\u00a0shift"]) == (
        "Staff",
        "night shift",
        "staff",
        "équipe",
    )
    assert len(clean_labels([str(number) for number in range(32)] * 2)) == 32


@pytest.mark.parametrize("given", ["", " ", "x" * 65, "a\nb", "a\0b", "\udfff", None, 7])
def test_a_label_is_a_short_printable_text(given: Any) -> None:
    with pytest.raises(GalleryError, match=says.NOT_A_LABEL.pattern()):
        clean_labels(["staff", given])


def test_there_are_at_most_32_labels() -> None:
    with pytest.raises(GalleryError, match=says.TOO_MANY_LABELS.pattern(count=33)):
        clean_labels([str(number) for number in range(33)])


def test_a_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(GalleryError, match=says.LABELS_ARE_A_LIST.pattern()):
        clean_labels("staff")


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "given", [{}, {"a": [1, 2.5, None, True, "é😀"]}, nested(8), {"k" * 128: ""}, {"n": 2**53 - 1}, {"m": 5e-324}]
)
def test_metadata_is_any_json_object(given: dict[str, Any]) -> None:
    assert clean_metadata(given) == given


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([1], says.METADATA_IS_AN_OBJECT),
        ("text", says.METADATA_IS_AN_OBJECT),
        ({"a": math.nan}, says.NUMBER_IN_METADATA),
        ({"a": [math.inf]}, says.NUMBER_IN_METADATA),
        ({"a": 2**53}, says.NUMBER_IN_METADATA),
        ({"a": -1e300}, says.NUMBER_IN_METADATA),
        ({"a": 10**5000}, says.NUMBER_IN_METADATA),
        ({"a": "\0"}, says.TEXT_IN_METADATA),
        ({"a": ["\ud83d"]}, says.TEXT_IN_METADATA),
        ({"\udc00": 1}, says.TEXT_IN_METADATA),
        ({1: "a"}, says.KEY_IN_METADATA),
        ({"": "a"}, says.KEY_IN_METADATA),
        ({"k" * 129: "a"}, says.KEY_IN_METADATA),
        ({"a": b"bytes"}, says.TYPE_IN_METADATA),
        ({"a": {1, 2}}, says.TYPE_IN_METADATA),
        (nested(9), says.METADATA_TOO_DEEP),
        (nested(100_000), says.METADATA_TOO_DEEP),
        ({"a": "x" * 8_184}, says.METADATA_TOO_LARGE),
        ({"a": "é" * 4_092}, says.METADATA_TOO_LARGE),
        ({"a": [1] * 2_729}, says.METADATA_TOO_LARGE),
        ({"a": [5e-324] * 30}, says.METADATA_TOO_LARGE),
    ],
)
def test_metadata_that_postgresql_cannot_hold_is_refused(given: Any, sentence: Any) -> None:
    with pytest.raises(GalleryError, match=sentence.pattern()) as refused:
        clean_metadata(given)
    assert "xxx" not in str(refused.value)  # a message may be logged, and a value may be private


def test_an_empty_external_id_is_none() -> None:
    assert Attributes.cleaned(external_id="").external_id is None
