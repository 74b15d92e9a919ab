"""The confidence of a result: only with a match, and on one scale for every model."""

from __future__ import annotations

import json

import pytest

from pgface.gallery import Gallery
from support.commands import Run
from support.photos import Photos

BLAIR, BUSH = "Tony_Blair", "George_W_Bush"
EMAIL = "blair@example.org"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Gallery:
    gallery.enroll(photos(BLAIR, 2), EMAIL, name="Tony Blair")
    return gallery


def test_a_match_has_a_confidence_and_a_stranger_has_none(enrolled: Gallery, photos: Photos) -> None:
    friend, stranger = photos(BLAIR, 4), photos(BUSH, 1)
    (face,) = enrolled.identify(friend).faces
    (found,) = face.matches
    (seen,) = enrolled.faces(friend)
    assert found.confidence == enrolled.confidence(found.similarity)
    assert found.confidence is not None
    assert found.confidence > 90
    assert enrolled.identify_embedding(seen.embedding) == [found]
    assert enrolled.identify_embeddings([seen.embedding] * 2) == [[found], [found]]
    verified, compared = enrolled.verify(friend, EMAIL), enrolled.compare(friend, photos(BLAIR, 2))
    assert verified.confidence == enrolled.confidence(verified.similarity)
    assert compared.confidence == enrolled.confidence(compared.similarity)
    assert (enrolled.verify(stranger, EMAIL).confidence, enrolled.compare(stranger, friend).confidence) == (None, None)
    assert enrolled.confidence(0.0) == enrolled.confidence(-0.004) == 0  # for a typical stranger
    assert enrolled.confidence(float("nan")) is None


def test_there_is_no_confidence_below_the_gallerys_own_threshold(enrolled: Gallery, photos: Photos) -> None:
    stranger = photos(BUSH, 1)
    identified = enrolled.identify(stranger, threshold=-1)
    assert identified.gallery_threshold == enrolled.config.identify_threshold
    assert [(match.name, match.confidence) for match in identified.faces[0].matches] == [("Tony Blair", None)]
    verified = enrolled.verify(stranger, EMAIL, threshold=-1)
    assert (verified.match, verified.confidence) == (True, None)
    compared = enrolled.compare(stranger, photos(BLAIR, 2), threshold=-1)
    assert (compared.match, compared.confidence) == (True, None)
    strict = enrolled.verify(photos(BLAIR, 4), EMAIL, threshold=0.99)
    assert (strict.match, strict.confidence) == (False, None)


@pytest.mark.usefixtures("enrolled")
def test_commands_print_the_confidence_only_with_a_match(photos: Photos, run: Run) -> None:
    friend, stranger = photos(BLAIR, 4), photos(BUSH, 1)
    for command in (["verify", friend, "--user", EMAIL], ["compare", friend, photos(BLAIR, 2)], ["identify", friend]):
        assert "confidence" in run(*command).stdout
    for command in (["verify", stranger, "--user", EMAIL], ["compare", stranger, friend]):
        assert "confidence" not in run(*command).stdout
        assert json.loads(run(*command, "--json").stdout)["confidence"] is None
    assert json.loads(run("verify", friend, "--user", EMAIL, "--json").stdout)["confidence"] > 90
    for photo, threshold, expected in ((friend, 0.4, True), (stranger, -1, False)):
        answer = json.loads(run("identify", photo, "--threshold", threshold, "--json").stdout)
        (match,) = answer["photos"][0]["faces"][0]["matches"]
        assert (match["confidence"] is not None) == expected
